"""Tensors of one number, such as `torch.zeros(...)`: which nodes give one, and the number."""

from typing import Any

from torch.fx import Node

from rnnx.tracing.streams.operands import name_of

FILLS = {"zeros": 0.0, "ones": 1.0, "full": None, "new_zeros": 0.0, "new_ones": 1.0, "new_full": None}

_LIKE = {"zeros_like": 0.0, "ones_like": 1.0, "full_like": None}


def is_fill(node: Node) -> bool:
    """Whether a node gives a tensor of one number."""
    return name_of(node) in {*FILLS, *_LIKE}


def number_of_fill(node: Node) -> bool | int | float | None:
    """The number that a fill has; None of a computed one, and of what is no fill."""
    if not is_fill(node):
        return None
    place = {"full": 1, "new_full": 2, "full_like": 1}.get(name_of(node))
    number: Any = node.args[place] if place is not None else {**FILLS, **_LIKE}[name_of(node)]
    return number if isinstance(number, bool | int | float) else None


def fill_of(node: Node) -> float | None:
    """The number that a node's tensor is filled with, through what only moves it."""
    while name_of(node) in ("expand", "unsqueeze", "transpose", "permute", "to", "clone"):
        inner: Any = node.args[0]
        node = inner
    number = number_of_fill(node)
    return None if number is None else float(number)
