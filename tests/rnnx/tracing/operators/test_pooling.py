from collections.abc import Callable

import pytest
import torch
from tests.rnnx.tracing.traced_forward import run, traced
from torch import Tensor, nn
from torch.nn import functional

from rnnx.tracing.operators.pooling import traced_pooling

POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": nn.MaxPool1d(2),
    "max-padded": nn.MaxPool1d(3, stride=2, padding=1, ceil_mode=True),
    "max-over-all": lambda x: functional.max_pool1d(x, x.size(2)),
    "avg-over-all": lambda x: functional.avg_pool1d(x, x.size(2)),
    "adaptive-avg": nn.AdaptiveAvgPool1d(4),
    "adaptive-avg-one": nn.AdaptiveAvgPool1d(1),
    "adaptive-max": nn.AdaptiveMaxPool1d(3),
    "adaptive-places": lambda x: functional.adaptive_max_pool1d_with_indices(x, (3,))[1],
    "adaptive-2d": nn.AdaptiveAvgPool2d((2, 3)),
    "adaptive-2d-kept": nn.AdaptiveAvgPool2d((None, 1)),
}


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_a_pool_leaves_its_axis_free_and_gives_pytorchs_values(pool: Callable[[Tensor], Tensor]) -> None:
    program = traced(pool, torch.randn(2, 5, 9), traced_pooling())
    for shape in ((3, 5, 4), (2, 5, 12), (1, 5, 31)):
        x = torch.randn(shape)
        torch.testing.assert_close(run(program, x), pool(x))


def test_pytorch_is_as_it_was() -> None:
    before = torch.max_pool1d, functional.adaptive_avg_pool1d
    with traced_pooling():
        assert torch.max_pool1d is not before[0]
    assert (torch.max_pool1d, functional.adaptive_avg_pool1d) == before


def test_a_pool_over_a_fixed_axis_is_pytorchs_own() -> None:
    x = torch.randn(2, 5, 9)
    with traced_pooling():
        found = functional.adaptive_avg_pool1d(x, 4), functional.max_pool1d(x, 2), nn.AdaptiveMaxPool1d(3)(x)
    expected = functional.adaptive_avg_pool1d(x, 4), functional.max_pool1d(x, 2), nn.AdaptiveMaxPool1d(3)(x)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
