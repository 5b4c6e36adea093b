from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from rnnx.errors import ExportError
from rnnx.tracing.signature import named_outputs, read_signature

ONE, TWO = torch.zeros(1), torch.ones(1)


@dataclass
class Scores:
    logits: Tensor
    states: tuple[Tensor, Tensor] | None = None


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


class Model(nn.Module):
    def forward(self, x: Tensor, state: Any = None, *, scale: float = 1.0, mask: Tensor | None = None) -> Any:
        return (x, state, scale, mask)


@pytest.mark.parametrize(
    ("result", "names"),
    [
        (ONE, ["output"]),
        ((ONE, [TWO, None]), ["output_0", "output_1"]),
        ({"a b": ONE, "c": {"d": TWO}}, ["a_b", "c_d"]),
        (Pair(ONE, TWO), ["first", "second"]),
        (Scores(ONE), ["logits"]),
        (Scores(ONE, (ONE, TWO)), ["logits", "states_0", "states_1"]),
        ((Scores(ONE), TWO), ["output_0_logits", "output_1"]),
    ],
    ids=["tensor", "nested-tuple", "dict", "named-tuple", "dataclass", "dataclass-with-states", "dataclass-in-tuple"],
)
def test_results_are_named_after_where_they_stand(result: Any, names: list[str]) -> None:
    assert list(named_outputs(result)) == names


def test_a_dataclass_holds_tensors_alone() -> None:
    with pytest.raises(ExportError, match=r"result.*'logits'.*: got a float, expected a tensor"):
        named_outputs(Scores(0.5))  # type: ignore[arg-type]


def test_arguments_are_called_as_forward_calls_them_and_stay_what_they_are() -> None:
    signature, tensors = read_signature(Model(), {"x": ONE, "state": (ONE, [TWO]), "scale": 2.0, "mask": TWO})
    assert signature.names == ("x", "state_0", "state_1_0", "mask")
    x, state, scale, mask = signature.call(Model(), [tensor + 5 for tensor in tensors])
    assert (x.item(), state[0].item(), state[1][0].item(), scale, mask.item()) == (5, 5, 6, 2.0, 6)


def test_the_examples_tensors_are_copies() -> None:
    x = torch.zeros(2)
    _, (copy,) = read_signature(Model(), (x,))
    copy += 1
    assert x.tolist() == [0, 0]
