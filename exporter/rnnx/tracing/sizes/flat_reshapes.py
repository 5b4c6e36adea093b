"""`h.reshape(4, h.size(0), 32)` of `(B, 2, 64)`: a reshape that puts other axes in front of a free one.

PyTorch looks for axes to merge and part by comparing sizes, and fixes the free one where it is equal to another by
chance. By way of one flat axis there is nothing to compare.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import SymInt, Tensor

from rnnx.tracing.recurrence_nodes import Size
from rnnx.tracing.sizes.dims import expression_of


@contextmanager
def flat_reshapes() -> Iterator[None]:
    """Let a reshape that moves a free axis to another place go by way of one flat axis, inside the block."""
    original: Any = torch.reshape

    def reshape(self: Tensor, *shape: Any, **options: Any) -> Any:
        sizes = options.get("shape", shape[0] if len(shape) == 1 and not isinstance(shape[0], int | SymInt) else shape)
        if not _moves_a_free_axis(self.shape, sizes):
            return original(self, sizes)
        return original(original(self, (-1,)), sizes)

    with mock.patch.object(Tensor, "reshape", reshape):
        yield


def _moves_a_free_axis(before: Sequence[Size], after: Sequence[Size]) -> bool:
    one, other = _first_free(before), _first_free(after)
    if one is None or other is None or expression_of(before[one]) != expression_of(after[other]):
        return False
    return math.prod(map(int, before[:one])) != math.prod(map(int, after[:other]))


def _first_free(sizes: Sequence[Size]) -> int | None:
    """The place of the first free axis; None where there is none, or an axis before it is for PyTorch to find."""
    for place, size in enumerate(sizes):
        if isinstance(size, SymInt) and not expression_of(size).is_Integer:
            return place
        if int(size) < 0:
            return None
    return None
