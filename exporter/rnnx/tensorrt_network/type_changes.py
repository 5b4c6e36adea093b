"""Tensors whose element type TensorRT's importer changed, such as float64, which it silently makes float32."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx
from onnx import AttributeProto, GraphProto, TensorProto

_NAMES = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.FLOAT8E4M3FN: "FP8",
    TensorProto.INT8: "INT8",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.UINT8: "UINT8",
    TensorProto.BOOL: "BOOL",
    TensorProto.INT4: "INT4",
}
"""TensorRT's name of each ONNX element type that it has; every other one it changes or refuses."""


@dataclass(frozen=True, kw_only=True)
class TypeChange:
    """A tensor, its element type in the graph (ONNX's name, such as `DOUBLE`) and in the network (TensorRT's)."""

    tensor: str
    declared: str
    parsed: str


def find_type_changes(model: bytes, types: Mapping[str, str]) -> tuple[TypeChange, ...]:
    """The tensors of an ONNX file that the network has in another type; subgraphs are searched too.

    Args:
        model: the file's bytes; weights in external data may be absent.
        types: TensorRT's type by the tensor's or constant's name, as `NetworkCandidate.types`.
    """
    declared = dict(_declared(onnx.load_model_from_string(model).graph))
    return tuple(
        TypeChange(tensor=name, declared=TensorProto.DataType.Name(kind), parsed=types[name])
        for name, kind in declared.items()
        if name in types and _NAMES.get(kind) != types[name]
    )


def _declared(graph: GraphProto) -> Iterator[tuple[str, TensorProto.DataType]]:
    """What the graph says about its tensors; what it leaves open says nothing."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type:
            yield value.name, value.type.tensor_type.elem_type
    for tensor in graph.initializer:
        yield tensor.name, tensor.data_type
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                yield node.output[0], attribute.t.data_type
            for inner in [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs:
                yield from _declared(inner)
