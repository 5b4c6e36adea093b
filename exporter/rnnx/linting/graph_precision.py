"""The precision that a foreign graph computes some outputs in, told by the nodes on the way to them."""

from collections.abc import Iterable, Iterator
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
