from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from rnnx.tracing.sizes.specializations import Specialization, recorded_specializations


class Model(nn.Module):
    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.linear, self._forward = nn.Linear(5, 3), forward

    def forward(self, tensors: tuple[Tensor, ...]) -> Any:
        return self._forward(self, *tensors)


def _found(forward: Any) -> list[Specialization]:
    with recorded_specializations() as found:
        shapes = (((Dim.AUTO,) * 3, (Dim.AUTO,)),)
        tensors = (torch.zeros(2, 7, 5), torch.zeros(4))
        torch.export.export(Model(forward), (tensors,), dynamic_shapes=shapes, strict=False)
    return found


@pytest.mark.parametrize(
    ("forward", "place", "is_loop", "is_weights"),
    [
        (lambda self, x, y: x.reshape(2, -1) + y.sum(), (0, 0, 2), False, False),
        (lambda self, x, y: sum(step for step in x.unbind(1)) + y.sum(), (0, 1, 7), True, False),
        (lambda self, x, y: self.linear(x) + y.sum(), (0, 2, 5), False, True),
        (lambda self, x, y: x + y.view(4, 1, 1, 1), (1, 0, 4), False, False),
    ],
    ids=["number", "loop", "weights", "second-input"],
)
def test_an_axis_that_a_model_fixes_is_told_with_its_kind(
    forward: Any, place: tuple[int, int, int], is_loop: bool, is_weights: bool
) -> None:
    found = {(own.input, own.axis, own.size): own for own in _found(forward)}
    assert place in found
    assert (found[place].is_loop, found[place].is_weights) == (is_loop, is_weights)
    assert Path(__file__).name in found[place].line


def test_a_model_that_fixes_nothing_is_told_so_and_torch_is_as_it_was() -> None:
    before = ShapeEnv._set_replacement
    assert _found(lambda self, x, y: x.mean(1) * y.sum()) == []
    assert ShapeEnv._set_replacement is before
