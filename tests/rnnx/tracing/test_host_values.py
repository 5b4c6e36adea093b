from typing import Any

import torch
from tests.rnnx.tracing.traced_forward import run, traced
from torch import Tensor, nn

from rnnx.tracing.host_values import TracedList, host_values


def test_a_list_that_depends_on_no_input_is_one_of_plain_numbers() -> None:
    def normalised(x: Tensor) -> Any:
        axes: list[int] = torch.arange(1, len(x.shape)).tolist()
        return x - x.mean(axes, keepdim=True)

    program = traced(normalised, torch.randn(2, 3, 4), host_values(nn.Identity()))
    x = torch.randn(5, 7, 2)
    assert torch.equal(run(program, x), normalised(x))


def test_a_range_that_was_written_into_is_the_graphs() -> None:
    kinds: list[type] = []

    def shifted(x: Tensor) -> Any:
        places = torch.arange(3)
        places += 1
        kinds.append(type(places.tolist()))
        kinds.append(type(torch.arange(x.size(1)).tolist()))
        return x * 2

    traced(shifted, torch.randn(2, 3), host_values(nn.Identity()))
    assert set(kinds) == {TracedList}


def test_pytorch_is_as_it_was() -> None:
    before = torch.arange
    with host_values(nn.Identity()):
        assert torch.arange is not before
        assert torch.arange(3).tolist() == [0, 1, 2]
    assert torch.arange is before
