"""`sequence-lens-type`, `sequence-lens-half`, `lengths-constant` and `lengths-ignored`: lengths of padded sequences."""

from collections.abc import Iterator

from onnx import NodeProto, TensorProto, ValueInfoProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.backends import TENSORRT
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.recurrences import Recurrence
from rnnx.linting.rules.scopes import Scope, is_onnx, type_name

_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_INTEGERS = (TensorProto.INT32, TensorProto.INT64)


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Lengths of a type that no backend takes, beside a type that TensorRT refuses, constant, or read by nothing."""
    for layer in model.layers:
        if layer.sequence_lens:
            yield from _wrong_type(layer)
            yield from _beside_half(layer)
            yield from _constant(layer)
    yield from _ignored(model)


def _wrong_type(layer: Recurrence) -> Iterator[Finding]:
    kind = layer.scope.element_type(layer.sequence_lens)
    if kind not in (None, TensorProto.INT32):
        yield Finding(
            rule="sequence-lens-type",
            severity="error",
            node=layer.shown,
            message=f"sequence_lens {layer.sequence_lens!r} is {type_name(kind)}, "
            "ONNX wants int32: ONNX Runtime does not load the file",
            fix="declare it as int32, or put a Cast to int32 in front of it",
        )


def _beside_half(layer: Recurrence) -> Iterator[Finding]:
    if layer.element_type in _HALF:
        yield Finding(
            rule="sequence-lens-half",
            severity="error",
            node=layer.shown,
            message="sequence_lens together with float16 or bfloat16, which TensorRT refuses",
            fix="keep this node in float32, or leave the lengths out",
            backends=TENSORRT,
        )


def _constant(layer: Recurrence) -> Iterator[Finding]:
    """Lengths that are the same in every call: a constant, or a row of one value as long as the batch."""
    scope, name = layer.scope, layer.sequence_lens
    node = scope.producer(name)
    filled = node is not None and is_onnx(node, "ConstantOfShape", "Expand") and _is_filled(scope, node)
    if filled or scope.tensor(name) is not None:
        yield Finding(
            rule="lengths-constant",
            severity="warning",
            node=layer.shown,
            message=f"sequence_lens {name!r} is a constant of the file: a longer sequence is cut there without a word, "
            "and a shorter one refused or read past its end",
            fix="make the lengths an input, or leave them out where every row is as long as x",
        )


def _is_filled(scope: Scope, node: NodeProto) -> bool:
    return is_onnx(node, "ConstantOfShape") or scope.tensor(node.input[0]) is not None


def _ignored(model: ExaminedModel) -> Iterator[Finding]:
    """An input that is named as lengths are, and that no node reads while the recurrence runs over the padding."""
    deaf = [layer for layer in model.main.layers if not layer.sequence_lens]
    for value in model.proto.graph.input:
        if deaf and looks_like_lengths(value) and value.name not in names_read(model):
            yield Finding(
                rule="lengths-ignored",
                severity="info" if model.origin.is_traced else "error",
                node=deaf[0].shown,
                message=f"the input {value.name!r} is read by nothing: padding runs through the recurrence, so the "
                "final states and the backward direction depend on it on every backend",
                fix="use them in forward (pack_padded_sequence), and export the model again"
                if model.origin.is_traced
                else "hand it to sequence_lens, the fifth input of each recurrent node, as int32 (rnnx export "
                "--lengths does)",
            )


def looks_like_lengths(value: ValueInfoProto) -> bool:
    """Whether an input is a row of integers with a name as lengths have it."""
    tensor = value.type.tensor_type
    is_row = tensor.elem_type in _INTEGERS and len(tensor.shape.dim) == 1
    return is_row and "len" in value.name.lower()


def names_read(model: ExaminedModel) -> set[str]:
    """Every tensor that a node takes, and the graph's outputs."""
    outputs = {value.name for value in model.proto.graph.output}
    return outputs.union(*(part.scope.readers for part in model.parts))
