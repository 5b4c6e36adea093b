"""`if n: x = x[:, :-n]`: a slice that a model leaves out where it would cut nothing, right for that size too.

Python's `x[:, :-0]` is empty, and so is ONNX's. Counted from the front, the end is the whole axis at `n = 0`, as in the
model, whose branch the trace cannot have.
"""

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.sizes.guards import SizeGuard
from rnnx.tracing.sizes.many_sizes import at_sizes

_SLICE, _SIZE = torch.ops.aten.slice.Tensor, torch.ops.aten.sym_size.int

_LARGEST = 2**16
_MOST = 8
"""As many sizes at which a slice would cut nothing are held against the model's branches."""


def keep_whole_slices(program: ExportedProgram, guards: Sequence[SizeGuard]) -> None:
    """Let every slice that a branch of the model leaves out at some size give the whole axis there, in place."""
    branches = [guard for guard in guards if guard.is_own]
    for node, end in list(_ends(program)):
        if _is_left_out(expression_of(end.meta["val"]), branches):
            _count_from_front(program, node, end)
    program.graph_module.recompile()


def _ends(program: ExportedProgram) -> Iterator[tuple[Node, Node]]:
    """Slices whose end is a size below zero, with that end."""
    for node in program.graph.nodes:
        end: Any = node.args[3] if node.target == _SLICE and len(node.args) > 3 else None
        value = end.meta.get("val") if isinstance(end, Node) else None
        if isinstance(value, torch.SymInt) and value.node.hint is not None and value.node.hint < 0:
            yield node, end


def _is_left_out(end: Any, branches: Sequence[SizeGuard]) -> bool:
    """Whether there are sizes at which the end is zero, and the model has gone another way at each of them."""
    if len(end.free_symbols) != 1:
        return False
    symbol = next(iter(end.free_symbols))
    sizes = np.arange(1, _LARGEST, dtype=np.int64)
    try:
        whole = sizes[np.broadcast_to(at_sizes(end, {symbol: sizes}), sizes.shape) == 0][:_MOST].tolist()
    except (NotImplementedError, TypeError):
        return False
    return bool(whole) and all(any(not own.holds({symbol: size}) for own in branches) for size in whole)


def _count_from_front(program: ExportedProgram, node: Node, end: Node) -> None:
    source, axis = node.args[0], node.args[1]
    assert isinstance(source, Node)
    with program.graph.inserting_before(node):
        size = program.graph.call_function(_SIZE, (source, axis))
        size.meta = {**_place(node), "val": source.meta["val"].shape[axis]}
        place = program.graph.call_function(operator.add, (size, end))
        place.meta = {**_place(node), "val": size.meta["val"] + end.meta["val"]}
    node.update_arg(3, place)


def _place(node: Node) -> dict[str, Any]:
    return {key: value for key, value in node.meta.items() if key != "val"}
