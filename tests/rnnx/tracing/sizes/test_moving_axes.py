from typing import Any

import pytest
import torch
from tests.rnnx.tracing.small_models import Forward, Tagger, sequence, tagger_inputs
from torch import Tensor, nn

from rnnx.tracing.signature import read_signature
from rnnx.tracing.sizes.moving_axes import AxisTrials, axis_trials


def _trials(module: nn.Module, *inputs: Tensor) -> AxisTrials:
    signature, tensors = read_signature(module.eval(), inputs)
    return axis_trials(module, signature, tensors, [[True] * own.dim() for own in tensors])


def _pooled(self: Any, x: Tensor) -> Any:
    return self.lstm(x[:, 0, :, :5].squeeze(1) + x.mean((1, 3))[..., None])


def _memory(self: Any, x: Tensor, h: Tensor, memory: Tensor) -> Any:
    h, c = self.cell(x, (h, h))
    return h + memory.mean(1), c


def _dropped(self: Any, x: Tensor) -> Any:
    return self.lstm(x)[0].squeeze(1)


def _fours(self: Any, x: Tensor) -> Any:
    return self.lstm(torch.nn.functional.pad(x, (0, 0, 0, -(-x.size(1) // 4) * 4 - x.size(1))))


def _many(self: Any, x: Tensor, *others: Tensor) -> Any:
    return self.lstm(x + sum(own @ own.new_ones(2, 5) for own in others))


B, T = "B", "T"


@pytest.mark.parametrize(
    ("forward", "shapes", "moving", "taken"),
    [
        (_pooled, [(2, 2, 9, 7)], {(0, 0): B, (0, 2): T}, {(0, 1), (0, 3)}),
        (_memory, [(3, 5), (3, 8), (3, 6, 8)], {(0, 0): B, (1, 0): B, (2, 0): B}, {(2, 1)}),
        (_dropped, [(2, 1, 5)], {(0, 0): B}, set()),
        (lambda self, x: self.lstm(x.view(2, 9, 5))[0], [(2, 9, 5)], {}, set()),
        (_fours, [(2, 6, 5)], {(0, 0): B, (0, 1): T}, set()),
        (
            _many,
            [(2, 9, 5), *[(2, 9, 2)] * 4],
            {(place, axis): "BT"[axis] for place in range(5) for axis in (0, 1)},
            set(),
        ),
    ],
    ids=["features", "memory", "another-rank", "frozen", "padded", "many"],
)
def test_axes_move_a_layer_or_are_taken_or_neither(forward: Any, shapes: Any, moving: Any, taken: Any) -> None:
    found = _trials(Forward(forward), *(torch.ones(shape) for shape in shapes))
    assert found == AxisTrials(taken=frozenset({*moving, *taken}), moving=moving)


def test_a_packed_sequence_follows_its_batch() -> None:
    found = _trials(Tagger(), *tagger_inputs(3, 7))
    assert found.moving == {(0, 0): B, (1, 0): B}
    assert (0, 1) in found.taken


def test_the_model_is_left_as_it_was() -> None:
    module = Forward(lambda self, x: self.lstm(x)).eval()
    before = dict(vars(module))
    _trials(module, sequence(2, 3))
    assert vars(module) == before
    assert not module.lstm._forward_pre_hooks
