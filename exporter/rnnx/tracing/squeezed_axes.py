"""`squeeze` of a free axis, which PyTorch drops where its size is one and a graph of fixed rank keeps."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.tracing.dims import DimNames, expression_of
from rnnx.tracing.recurrence_nodes import Size

_SQUEEZE, _CLONE = torch.ops.aten.squeeze, torch.ops.aten.clone.default


def squeezed_notes(program: ExportedProgram, names: DimNames) -> tuple[str, ...]:
    """A note for each free dim that a squeeze of the model could drop."""
    found = dict.fromkeys(dim for node in program.graph.nodes for dim in _free_dims(node, names))
    return tuple(
        f"squeeze keeps the axis {dim}: with {dim} = 1 PyTorch drops it, so give squeeze the axis that it is for"
        for dim in found
    )


def keep_free_axes(program: ExportedProgram) -> None:
    """Take free axes out of every squeeze, in place: torch.onnx would write one that fails at all sizes but one.

    One of no axis in particular would drop the batch of one row: it is given those that are always of size 1.
    """
    for node in program.graph.nodes:
        if node.target in (_SQUEEZE.default, _SQUEEZE.dim, _SQUEEZE.dims):
            sizes = [(axis, expression_of(size)) for axis, size in _squeezed(node)]
            fixed = [axis for axis, size in sizes if size.is_Integer and (node.target != _SQUEEZE.default or size == 1)]
            source = node.args[0]
            node.target, node.args = (_SQUEEZE.dims, (source, fixed)) if fixed else (_CLONE, (source,))
    program.graph_module.recompile()


def _free_dims(node: Node, names: DimNames) -> Iterator[str]:
    if node.target in (_SQUEEZE.default, _SQUEEZE.dim, _SQUEEZE.dims):
        for _, size in _squeezed(node):
            if not expression_of(size).is_Integer:
                yield str(names.dims([size])[0])


def _squeezed(node: Node) -> Iterator[tuple[int, Size]]:
    """The axes that a squeeze is for, with their sizes."""
    shape = node.args[0].meta["val"].shape  # type: ignore[union-attr]
    given: Any = node.args[1] if len(node.args) > 1 else range(len(shape))
    for axis in [given] if isinstance(given, int) else given:
        yield axis, shape[axis]
