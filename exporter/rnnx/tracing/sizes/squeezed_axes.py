"""`squeeze` of a free axis, which PyTorch drops where its size is one and a graph of fixed rank keeps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.tracing.recurrence_nodes import RecurrenceNode, Size
from rnnx.tracing.sizes.dims import DimNames, expression_of

_SQUEEZE, _CLONE = torch.ops.aten.squeeze, torch.ops.aten.clone.default


def squeezed_notes(program: ExportedProgram, names: DimNames) -> tuple[str, ...]:
    """A note for each free dim that a squeeze of the model could drop."""
    found = dict.fromkeys(dim for node in program.graph.nodes for dim in _free_dims(node, names))
    return tuple(
        f"squeeze keeps the axis {dim}: with {dim} = 1 PyTorch drops it, so give squeeze the axis that it is for"
        for dim in found
    )


def single_axes(
    program: ExportedProgram, inputs: Mapping[str, Sequence[Size]], recurrences: Sequence[RecurrenceNode]
) -> set[tuple[str, int]]:
    """The free axes, by input and place, of size one in the example that are meant to be one.

    Those are the axes that the model gives to `squeeze`, and the columns of integers such as lengths `(B, 1)`; no batch
    and no time of a layer.
    """
    sizes = [expression_of(size) for own in recurrences for size in (own.batch, own.time) if size is not None]
    moving = {symbol for size in sizes for symbol in size.free_symbols}
    alone = {symbol for size in sizes for symbol in size.free_symbols if len(size.free_symbols) == 1}
    squeezed = {expression_of(size) for node in program.graph.nodes for size in _named_in_squeeze(node)}
    dtypes = {name: own.meta["val"].dtype for name, own in _placeholders(program, list(inputs))}
    return {
        (name, axis)
        for name, shape in inputs.items()
        for axis, size in enumerate(shape)
        if isinstance(size, torch.SymInt) and size.node.hint == 1
        if (size.node.expr in squeezed and size.node.expr not in moving)
        or (alone - {size.node.expr} == alone and moving and axis > 0 and not dtypes[name].is_floating_point)
    }


def _placeholders(program: ExportedProgram, names: Sequence[str]) -> Iterator[tuple[str, Node]]:
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    return zip(names, (nodes[own] for own in program.graph_signature.user_inputs), strict=True)


def _named_in_squeeze(node: Node) -> Iterator[Size]:
    """The sizes of the axes that a squeeze is given."""
    if node.target in (_SQUEEZE.dim, _SQUEEZE.dims):
        yield from (size for _, size in _squeezed(node))


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
