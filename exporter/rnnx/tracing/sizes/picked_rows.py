"""Axes from which the model picks rows by a tensor, such as the states of a beam's parents: any number will do."""

from collections.abc import Iterator
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch.export import ExportedProgram
from torch.fx import Node

_BY_ONE = (torch.ops.aten.index_select.default, torch.ops.aten.gather.default)
_BY_SEVERAL = torch.ops.aten.index.Tensor


def picked_sizes(program: ExportedProgram) -> set[sympy.Symbol]:
    """The free sizes of axes along which rows are picked by an index that has a free size itself.

    A trace keeps such an axis apart from the batch that the picked rows make, since it takes any number of rows.
    """
    picked = (own for node in program.graph.nodes for own in _picked(node))
    return {size.node.expr for size in picked if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol}


def sizes_beside_picked(program: ExportedProgram) -> set[sympy.Symbol]:
    """The free sizes of a tensor beside the axis of a gather that its index has as numbers: it takes larger ones."""
    gathers = [node for node in program.graph.nodes if node.target is torch.ops.aten.gather.default]
    pairs = (
        pair
        for node in gathers
        for axis, pair in enumerate(zip(_shape(node.args[0]), _shape(node.args[2]), strict=True))
        if axis != int(node.args[1]) % len(_shape(node.args[0]))
    )
    return {size.node.expr for size, own in pairs if isinstance(size, torch.SymInt) and isinstance(own, int)}


def _picked(node: Node) -> Iterator[Any]:
    if node.target in _BY_ONE:
        places: dict[Any, Any] = {node.args[1]: node.args[2]}
    elif node.target is _BY_SEVERAL:
        places = {axis: index for axis, index in enumerate(node.args[1]) if index is not None}  # type: ignore[arg-type]
    else:
        return
    shape = _shape(node.args[0])
    yield from (
        shape[axis] for axis, index in places.items() if any(isinstance(size, torch.SymInt) for size in _shape(index))
    )


def _shape(node: Any) -> tuple[Any, ...]:
    return tuple(node.meta["val"].shape)
