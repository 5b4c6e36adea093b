import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.rnnx.tracing.traced_forward import run, traced
from torch import Tensor

from rnnx.errors import ExportError
from rnnx.tracing.sizes.exact_sizes import exact_sizes

Forward = Callable[[Tensor], Any]


@pytest.mark.parametrize(
    "forward",
    [
        pytest.param(lambda x: x[:, : math.trunc(x.size(1) / 2)], id="trunc"),
        pytest.param(lambda x: x[:, : math.ceil(x.size(1) / 4)], id="ceil"),
        pytest.param(lambda x: x[:, : math.floor(x.size(1) / 3 + 1)], id="floor-offset"),
        pytest.param(lambda x: x[:, : round(x.size(1) / 2)], id="round-half-to-even"),
        pytest.param(lambda x: x[:, : round(x.size(1) * 0.3)], id="round-ratio"),
        pytest.param(lambda x: torch.zeros(math.ceil(x.size(1) * x.size(0) / 4) * 2), id="two-sizes"),
        pytest.param(
            lambda x: torch.zeros(max(1, math.ceil(max(1, math.ceil(x.size(1) / 4)) / 2) + 1)), id="nested-max"
        ),
        pytest.param(lambda x: torch.zeros(math.ceil(x.size(1) * 1) + 1), id="whole-already"),
    ],
)
def test_a_whole_number_made_by_floats_stays_free_and_is_pythons(forward: Forward) -> None:
    program = traced(forward, torch.randn(2, 9), exact_sizes())
    for time in (1, 2, 6, 7, 10, 50):
        x = torch.randn(3, time)
        assert torch.equal(run(program, x), forward(x)), time


def test_the_ceiling_of_a_whole_number_is_the_number() -> None:
    program = traced(lambda x: torch.zeros(math.ceil(x.size(1))), torch.randn(2, 9), exact_sizes())
    sizes = [node.meta["val"] for node in program.graph.nodes if isinstance(node.meta.get("val"), torch.SymInt)]
    assert all("Ceil" not in str(size.node.expr) for size in sizes)


def test_it_is_made_of_integers_alone() -> None:
    program = traced(lambda x: x[:, : round(x.size(1) / 2)], torch.randn(2, 9), exact_sizes())
    assert not any(isinstance(node.meta.get("val"), torch.SymFloat) for node in program.graph.nodes)


def test_what_floats_round_otherwise_than_integers_is_refused_with_the_line() -> None:
    with pytest.raises(ExportError) as refused:
        traced(lambda x: x[:, : math.floor(x.size(1) * 0.29)], torch.randn(2, 9), exact_sizes())
    assert "a size of 100" in refused.value.got
    assert "x.size(1) * 0.29" in refused.value.got
    assert "n * 29 // 100" in refused.value.remedy


def test_what_is_no_straight_line_is_left_to_pytorch() -> None:
    program = traced(lambda x: x[:, : math.floor(x.size(1) ** 0.5)], torch.randn(2, 9), exact_sizes())
    assert run(program, torch.randn(2, 17)).shape == (2, 4)


def test_pytorch_is_as_it_was() -> None:
    before = torch.SymFloat.__trunc__
    with exact_sizes():
        assert torch.SymFloat.__trunc__ is not before
    assert torch.SymFloat.__trunc__ is before
