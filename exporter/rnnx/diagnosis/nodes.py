"""The graph's node that holds a fault, where the model's file is at hand."""

from typing import TYPE_CHECKING

from rnnx.diagnosis.simulation import Place

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_RECURRENT = ("LSTM", "GRU", "DynamicQuantizeLSTM")


def recurrent_node(model: "ModelProto | None", layers: int, places: tuple[Place, ...]) -> str:
    """The recurrent node of the lowest of some cells, as operator and name; empty where the graph has none for it."""
    if model is None:
        return ""
    nodes = [node for node in model.graph.node if node.op_type in _RECURRENT]
    if not nodes or len(nodes) % layers:
        return ""
    layer, direction = min(places, default=(0, 0))
    each = len(nodes) // layers
    return shown(nodes[layer * each + min(direction, each - 1)])


def baked_node(model: "ModelProto | None", rule: str) -> str:
    """The node that the examination of the graph finds to hold a fixed length; empty where it finds none."""
    if model is None:
        return ""
    from rnnx.linting.examination import examine

    return next((finding.node for finding in examine(model) if finding.rule == rule), "")


def shown(node: "NodeProto") -> str:
    """A node as operator and name, or its first output where it has no name."""
    return f"{node.op_type} {(node.name or node.output[0])!r}"
