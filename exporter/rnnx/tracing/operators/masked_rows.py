"""Attention over nothing: for a row whose every key is masked PyTorch gives zeros, and the graph of torch.onnx NaN."""

from math import inf
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node

_ATEN = torch.ops.aten
_ATTENTION = _ATEN.scaled_dot_product_attention.default


def keep_masked_rows(program: ExportedProgram) -> None:
    """Fill the rows of every attention whose mask leaves no key with zeros, in place.

    That is what `torch.nn.functional.scaled_dot_product_attention` does: its softmax of a row of -inf alone is zero.
    """
    for node in list(program.graph.nodes):
        if node.target is _ATTENTION:
            mask = node.args[3] if len(node.args) > 3 else node.kwargs.get("attn_mask")
            if isinstance(mask, Node):
                _fill(program, node, mask)
    program.graph_module.recompile()


def _fill(program: ExportedProgram, attention: Node, mask: Node) -> None:
    graph = program.graph
    users = list(attention.users)
    with graph.inserting_before(attention.next):
        if mask.meta["val"].dtype == torch.bool:
            some = _call(graph, attention, _ATEN.any.dim, mask, -1, True)
            empty = _call(graph, attention, _ATEN.logical_not.default, some)
        else:
            masked = _call(graph, attention, _ATEN.eq.Scalar, mask, -inf)
            empty = _call(graph, attention, _ATEN.all.dim, masked, -1, True)
        filled = _call(graph, attention, _ATEN.masked_fill.Scalar, attention, empty, 0.0)
    for user in users:
        user.replace_input_with(attention, filled)
    program.graph_signature.replace_all_uses(attention.name, filled.name)


def _call(graph: Graph, attention: Node, operator: Any, *args: Any) -> Node:
    """A node at the attention's own line of the model."""
    node = graph.call_function(operator, args)
    node.meta = {key: value for key, value in attention.meta.items() if key != "val"}
    values = [argument.meta["val"] if isinstance(argument, Node) else argument for argument in args]
    node.meta["val"] = operator(*values)
    return node
