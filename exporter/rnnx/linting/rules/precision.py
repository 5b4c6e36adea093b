"""`float64`, `bfloat16` and `float16`: element types for which a backend has no kernel of its own."""

from collections.abc import Iterator

from onnx import NodeProto, TensorProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.backends import ORT_CPU, TENSORRT
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.recurrences import Recurrence
from rnnx.linting.rules.scopes import Scope, attributes_of, is_onnx, shown


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Where float64 enters, and every recurrent node in another type than float32."""
    for subject in (own for part in model.parts for own in _float64(part.scope)):
        yield Finding(
            rule="float64",
            severity="error",
            node=subject,
            message="float64, which TensorRT silently computes in float32",
            fix="export the model in float32, and verify it against the float64 reference",
            backends=TENSORRT,
        )
    for layer in model.layers:
        yield from _of_type(layer)


def _of_type(layer: Recurrence) -> Iterator[Finding]:
    match layer.element_type:
        case TensorProto.DOUBLE:
            yield Finding(
                rule="float64-recurrence",
                severity="error",
                node=layer.shown,
                message=f"{layer.operator} in float64: ONNX Runtime loads it on CPU and throws at the first call",
                fix="export the model in float32",
                backends=ORT_CPU,
            )
        case TensorProto.BFLOAT16:
            yield from _bfloat16(layer)
        case TensorProto.FLOAT16:
            yield Finding(
                rule="float16",
                severity="info",
                node=layer.shown,
                message=f"{layer.operator} in float16: ONNX Runtime on CPU computes it in float32 between casts, so "
                "its errors say nothing about a GPU's",
                fix="judge float16 where it will run",
                backends=ORT_CPU,
            )


def _bfloat16(layer: Recurrence) -> Iterator[Finding]:
    yield Finding(
        rule="bfloat16",
        severity="warning",
        node=layer.shown,
        message=f"{layer.operator} in bfloat16: ONNX Runtime on CPU has no kernel and does not load the file",
        fix="use float32 for ONNX Runtime on CPU",
        backends=ORT_CPU,
    )
    if layer.operator == "GRU":
        yield Finding(
            rule="bfloat16-gru",
            severity="error",
            node=layer.shown,
            message="a GRU in bfloat16, which TensorRT refuses",
            fix="keep this node in float32 or use float16",
            backends=TENSORRT,
        )


def _float64(scope: Scope) -> Iterator[str]:
    """The inputs, outputs, weights and nodes that are or make float64, which no declaration need mention."""
    for name, value in scope.declared.items():
        if name not in scope.tensors and value.type.tensor_type.elem_type == TensorProto.DOUBLE:
            yield f"tensor {name!r}"
    for tensor in scope.graph.initializer if scope.graph else ():
        if _is_float64(tensor):
            yield f"tensor {tensor.name!r}"
    for node in scope.nodes:
        if is_onnx(node, node.op_type) and _makes_float64(node):
            yield shown(node)


def _makes_float64(node: NodeProto) -> bool:
    own = attributes_of(node)
    if node.op_type == "Cast":
        return bool(own.get("to") == TensorProto.DOUBLE)
    tensors = [value for value in own.values() if isinstance(value, TensorProto)]
    return own.get("dtype") == TensorProto.DOUBLE or any(_is_float64(tensor) for tensor in tensors)


def _is_float64(tensor: TensorProto) -> bool:
    """Whether a constant is float64; a single number is exact enough in float32, and who computes with it is found."""
    return bool(tensor.data_type == TensorProto.DOUBLE and list(tensor.dims) not in ([], [1]))
