from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rnnx.tracing.states.value_origins import ValueOrigins


def _written_through_a_view(x: Tensor) -> Tensor:
    made = torch.zeros(2, 3)
    made[0] = x[0]
    return made


COMPUTED: dict[str, tuple[Callable[[Tensor], Tensor], set[str]]] = {
    "computed": (lambda x: (x * 2).sum(0), {"x"}),
    "view": (lambda x: x.T[:1], {"x"}),
    "view-of-what-is-written": (_written_through_a_view, {"x"}),
    "zeros-of-its-shape": (lambda x: torch.zeros_like(x) + x.new_zeros(x.size(0), 3), set()),
    "overwritten": (lambda x: x.clone().zero_(), set()),
    "size": (lambda x: torch.zeros(x.size(0)), set()),
}


@pytest.mark.parametrize(("compute", "labels"), COMPUTED.values(), ids=COMPUTED)
def test_labels_follow_values_and_not_shapes(compute: Callable[[Tensor], Tensor], labels: set[str]) -> None:
    origins, x = ValueOrigins(), torch.randn(2, 3)
    origins.label((x,), "x")
    with origins:
        result = compute(x)
    assert origins.of([result]) == labels
