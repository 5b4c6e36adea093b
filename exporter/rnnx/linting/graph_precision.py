"""The precision that a foreign graph computes some outputs in, told by the nodes on the way to them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_RECURRENT = ("LSTM", "GRU", "RNN")
_PRODUCTS = ("MatMul", "Gemm")
_INTEGER_PRODUCTS = ("MatMulInteger", "QLinearMatMul")
_HALF = {10: "float16", 16: "bfloat16"}
"""ONNX's element types (TensorProto.DataType) that are coarser than float32."""


def precision_of(proto: Any, outputs: Iterable[str]) -> str:
    """`int8`, `bfloat16`, `float16` or `float32`: the coarsest of the nodes that do the recurrence's products.

    Those are the recurrent nodes that the outputs depend on, and in a graph of written-out cells its matrix products.
    What does not reach the outputs does not count: a quantized head says nothing of the recurrence below it.
    """
    nodes = list(_reached(proto.graph, outputs))
    if any(node.op_type == "DynamicQuantizeLSTM" for node in nodes):
        return "int8"
    recurrent = [node for node in nodes if node.op_type in _RECURRENT]
    if not recurrent and any(node.op_type in _INTEGER_PRODUCTS for node in nodes):
        return "int8"
    operands = {name for node in recurrent or nodes if node.op_type in (*_RECURRENT, *_PRODUCTS) for name in node.input}
    if any(node.op_type == "DequantizeLinear" and set(node.output) & operands for node in nodes):
        return "int8"
    kinds = {_HALF.get(t.data_type) for t in proto.graph.initializer if t.name in operands and len(t.dims) > 1}
    return next((name for name in ("bfloat16", "float16") if name in kinds), "float32")


def coarsest_of(proto: Any, outputs: Iterable[str]) -> str:
    """`int8`, `bfloat16`, `float16` or `float32`: the coarsest of all that the outputs went through.

    A head that was quantized, a front that was rounded, a step inside a loop or a local function: each of them alone
    makes its outputs coarse.
    """
    functions = {(own.domain, own.name): own for own in proto.functions}
    nodes = list(_within(_reached(proto.graph, outputs), functions, set()))
    if any(_is_integer(node.op_type) for node in nodes):
        return "int8"
    read = {name for node in nodes for name in node.input}
    kinds = {tensor.data_type for tensor in proto.graph.initializer if tensor.name in read}
    kinds |= {own.t.data_type for node in nodes for own in node.attribute if own.HasField("t")}
    kinds |= {own.i for node in nodes if node.op_type == "Cast" for own in node.attribute if own.name == "to"}
    kinds |= {tensor.data_type for node in nodes for own in _graphs(node) for tensor in own.initializer}
    return next((name for kind, name in ((16, "bfloat16"), (10, "float16")) if kind in kinds), "float32")


def _is_integer(operator: str) -> bool:
    """Whether an operator computes on integers that stand for fractions, ONNX's own and ONNX Runtime's."""
    named = operator.startswith(("QLinear", "QGemm", "QAttention", "Dequantize", "DynamicQuantize"))
    return named or "Integer" in operator or operator.endswith("NBits")


def _within(
    nodes: Iterable[Any], functions: Mapping[tuple[str, str], Any], inside: set[tuple[str, str]]
) -> Iterator[Any]:
    """Nodes, and those of their subgraphs and of the functions that they call, each function once."""
    for node in nodes:
        yield node
        for graph in _graphs(node):
            yield from _within(graph.node, functions, inside)
        called = (node.domain, node.op_type)
        if called in functions and called not in inside:
            inside.add(called)
            yield from _within(functions[called].node, functions, inside)


def _graphs(node: Any) -> list[Any]:
    return [graph for own in node.attribute for graph in (*([own.g] if own.HasField("g") else []), *own.graphs)]


def _reached(graph: Any, outputs: Iterable[str]) -> Iterator[Any]:
    """The nodes that the outputs depend on, the last first."""
    makers = {name: node for node in graph.node for name in node.output if name}
    waiting, seen = list(outputs), set()
    while waiting:
        name = waiting.pop()
        node = makers.get(name)
        if node is not None and id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += node.input
