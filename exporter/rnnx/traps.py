"""Graphs that TensorRT refuses, or accepts and computes wrongly without a word: found before it sees them.

Each was found by evaluating, layer by layer, the network that TensorRT's ONNX importer makes of it. No formulation of
rnnx writes any of them; this guards the ones to come, and an operator that changes under them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from rnnx.errors import EngineError

_RECURRENT = ("LSTM", "GRU", "RNN")
_HALF = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16"}
_SEQUENCE_LENS = 4
"""The position of `sequence_lens` among the inputs of LSTM, GRU and RNN."""

Types = Mapping[str, int]
"""The ONNX element type of each tensor whose type the graph says."""


@dataclass(frozen=True, kw_only=True)
class Trap:
    """A node or tensor that TensorRT gets wrong, why, and what to write instead."""

    node: str
    reason: str
    remedy: str


def find_traps(model: ModelProto) -> list[Trap]:
    """Every trap in a model, in its subgraphs and local functions too; weights in external data may be absent."""
    traps = list(_graph_traps(model.graph, {}))
    for function in model.functions:
        traps += _node_traps(function.node, {})
    return traps


def refuse_traps(model: ModelProto, subject: str) -> None:
    """Raise for the first trap of a model; `subject` names the file.

    Raises:
        EngineError: the model has a trap.
    """
    traps = find_traps(model)
    if traps:
        first, others = traps[0], len(traps) - 1
        raise EngineError(
            f"{subject}, {first.node}",
            got=first.reason + (f" (and {others} more)" if others else ""),
            expected="a graph that TensorRT computes as ONNX defines it",
            remedy=first.remedy,
        )


def _graph_traps(graph: GraphProto, outer: Types) -> Iterator[Trap]:
    own = dict(_declared_types(graph))
    for name, kind in own.items():
        if kind == TensorProto.DOUBLE:
            yield _float64(f"tensor {name!r}")
    yield from _node_traps(graph.node, {**outer, **own})


def _node_traps(nodes: Iterable[NodeProto], types: Types) -> Iterator[Trap]:
    for node in nodes:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.domain in ("", "ai.onnx"):
            yield from _own_traps(
                node, {name: onnx.helper.get_attribute_value(a) for name, a in attributes.items()}, types
            )
        for attribute in attributes.values():
            for graph in _subgraphs(attribute):
                yield from _graph_traps(graph, types)


def _own_traps(node: NodeProto, attributes: Mapping[str, Any], types: Types) -> Iterator[Trap]:
    subject = f"{node.op_type} {node.name or ', '.join(node.output)!r}"
    if _makes_float64(node, attributes):
        yield _float64(subject)
    if node.op_type == "Loop" and not (node.input and node.input[0]):
        yield Trap(
            node=subject,
            reason="a Loop without a trip limit, which TensorRT refuses",
            remedy="give it the largest number of steps as its first input M",
        )
    if node.op_type in _RECURRENT:
        for applies, reason, remedy in _RECURRENT_TRAPS:
            if applies(node, attributes, types):
                yield Trap(node=subject, reason=reason, remedy=remedy)


def _has_layout(node: NodeProto, attributes: Mapping[str, Any], types: Types) -> bool:
    return bool(attributes.get("layout"))


def _has_clip(node: NodeProto, attributes: Mapping[str, Any], types: Types) -> bool:
    return node.op_type == "LSTM" and "clip" in attributes


def _has_softplus(node: NodeProto, attributes: Mapping[str, Any], types: Types) -> bool:
    return any(name.lower() == b"softplus" for name in attributes.get("activations", ()))


def _has_input_forget(node: NodeProto, attributes: Mapping[str, Any], types: Types) -> bool:
    return bool(attributes.get("input_forget"))


def _has_half_lengths(node: NodeProto, attributes: Mapping[str, Any], types: Types) -> bool:
    return any(node.input[_SEQUENCE_LENS : _SEQUENCE_LENS + 1]) and _element_type(node, types) in _HALF


def _is_bfloat16_gru(node: NodeProto, attributes: Mapping[str, Any], types: Types) -> bool:
    return node.op_type == "GRU" and _element_type(node, types) == TensorProto.BFLOAT16


_Applies = Callable[[NodeProto, Mapping[str, Any], Types], bool]

_RECURRENT_TRAPS: tuple[tuple[_Applies, str, str], ...] = (
    (
        _has_layout,
        "layout=1, which TensorRT ignores: it takes the batch for the time",
        "transpose x inside the graph, as rnnx export --batch-first does",
    ),
    (
        _has_clip,
        "clip on an LSTM, where TensorRT also clips the cell state that it gives back",
        "leave clip out; PyTorch has none",
    ),
    (
        _has_softplus,
        "the activation Softplus, which TensorRT evaluates with alpha = beta = 0, that is as 0",
        "use another activation, or write the recurrence out with the operator Softplus, which is right",
    ),
    (
        _has_input_forget,
        "input_forget=1, which TensorRT refuses",
        "write the coupled gate out step by step, or train without it",
    ),
    (
        _has_half_lengths,
        "sequence_lens together with float16 or bfloat16, which TensorRT refuses",
        "keep this node in float32, or leave the lengths out",
    ),
    (_is_bfloat16_gru, "a GRU in bfloat16, which TensorRT refuses", "keep this node in float32 or use float16"),
)
"""When it applies to a recurrent node, why it is a trap, what to do instead."""


def _element_type(node: NodeProto, types: Types) -> int | None:
    """The type of x, W and R, which ONNX demands to be one; whichever of them the graph declares."""
    return next((types[name] for name in node.input[:3] if name in types), None)


def _declared_types(graph: GraphProto) -> Iterator[tuple[str, int]]:
    for value in (*graph.input, *graph.value_info, *graph.output):
        yield value.name, value.type.tensor_type.elem_type
    for tensor in graph.initializer:
        yield tensor.name, tensor.data_type


def _makes_float64(node: NodeProto, attributes: Mapping[str, Any]) -> bool:
    """Whether a Cast, a Constant or a random node makes float64, which no declaration need mention."""
    if node.op_type == "Cast":
        return bool(attributes.get("to") == TensorProto.DOUBLE)
    tensors = [value for value in attributes.values() if isinstance(value, TensorProto)]
    return attributes.get("dtype") == TensorProto.DOUBLE or any(t.data_type == TensorProto.DOUBLE for t in tensors)


def _float64(subject: str) -> Trap:
    return Trap(
        node=subject,
        reason="float64, which TensorRT silently computes in float32",
        remedy="export the model in float32, and verify it against the float64 reference",
    )


def _subgraphs(attribute: AttributeProto) -> list[GraphProto]:
    return [attribute.g] if attribute.type == AttributeProto.GRAPH else list(attribute.graphs)
