"""How far a strided view reaches into its storage, and whether its numbers are any at all."""

import math
from typing import Any

_MOST_AXES = 64
"""NumPy's and torch's own limit."""


def is_whole(*numbers: Any) -> bool:
    """Whether all are sizes: whole numbers from 0 that fit into 63 bits."""
    return all(type(number) is int and 0 <= number < 2**63 for number in numbers)


def extent_flaw(shape: tuple[Any, ...], strides: tuple[Any, ...], offset: Any, item: int, available: int) -> str:
    """What is wrong with a view of `available` bytes; `strides` and `offset` count elements of `item` bytes.

    Empty for a view that stays within them. It may repeat elements, which is another question.
    """
    if not is_whole(*shape, *strides, offset) or len(shape) != len(strides):
        return "of sizes or strides that are no whole numbers from 0"
    if len(shape) > _MOST_AXES:
        return f"of {len(shape)} axes"
    if math.prod(filter(None, shape)) * item >= 2**63 or _reach(shape, strides, offset) * item > available:
        return f"of shape {shape} in {available} bytes"
    return ""


def _reach(shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> int:
    """Elements of the storage up to the last that the view touches."""
    if 0 in shape:
        return 0
    return offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True)) + 1
