"""Parts of a tensor that torch.onnx takes out of a sequence, as Gather and Slice: TensorRT knows no sequences.

`unbind`, `split` and `chunk` become SplitToSequence and SequenceAt where torch.onnx does not see the axis' size.
https://onnx.ai/onnx/operators/onnx__SplitToSequence.html
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

_END = 2**31 - 1
"""The end of a Slice that goes to the end of its axis."""


def replace_sequences(model: ir.Model) -> None:
    """Replace every SplitToSequence whose parts are all taken at constant places, in place of the graph."""
    for node in [node for node in model.graph if node.op_type == "SplitToSequence"]:
        readers = [reader for reader, _ in node.outputs[0].uses()]
        places = [_constant(reader.inputs[1]) if reader.op_type == "SequenceAt" else None for reader in readers]
        lengths = _lengths(node)
        if lengths is None or None in places or node.outputs[0].is_graph_output():
            continue
        for reader, place in zip(readers, places, strict=True):
            _replace(model.graph, reader, _part(node, lengths, int(np.asarray(place))))
        model.graph.remove(node, safe=True)


def _lengths(node: ir.Node) -> int | tuple[int, ...] | None:
    """The length of each part, or those of all parts; 0 for parts without the axis; None where no constant says it."""
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if given is None:
        keepdims = node.attributes.get("keepdims")
        return 1 if keepdims is None or keepdims.as_int() else 0
    value = _constant(given)
    if value is None:
        return None
    return tuple(map(int, value)) if value.ndim else int(value)


def _part(node: ir.Node, lengths: int | tuple[int, ...], place: int) -> list[ir.Node]:
    """The nodes that take one part out of a tensor."""
    source, axis = node.inputs[0], node.attributes.get("axis")
    along = 0 if axis is None else axis.as_int()
    if lengths == 0:
        index = _made(place)
        return [index, ir.node("Gather", [source, index.outputs[0]], {"axis": along})]
    start, end = _bounds(lengths, place)
    limits = [_made([value]) for value in (start, end, along)]
    return [*limits, ir.node("Slice", [source, *(own.outputs[0] for own in limits)])]


def _bounds(lengths: int | Sequence[int], place: int) -> tuple[int, int]:
    if isinstance(lengths, int):
        end = (place + 1) * lengths
        return place * lengths, end if end else _END  # counted from the end, the last part ends there
    ends = np.cumsum(lengths).tolist()
    return ends[place] - lengths[place], ends[place]


def _made(value: int | list[int]) -> ir.Node:
    return ir.node("Constant", [], {"value": ir.tensor(np.array(value, np.int64))})


def _replace(graph: ir.Graph, old: ir.Node, nodes: list[ir.Node]) -> None:
    value, new = old.outputs[0], nodes[-1].outputs[0]
    for index, node in enumerate(nodes):
        node.name = f"{old.name or value.name}_part{index}"
        node.outputs[0].name = f"{value.name}_part{index}"
    graph.insert_before(old, nodes)
    new.name, new.type, new.shape = value.name, value.type, value.shape
    ir.convenience.replace_all_uses_with(value, new, replace_graph_outputs=True)
    graph.remove(old, safe=True)


def _constant(value: ir.Value | None) -> np.ndarray | None:
    found = None if value is None else ir.convenience.get_const_tensor(value)
    return None if found is None else found.numpy()
