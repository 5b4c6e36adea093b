"""`sequence-lens-type`, `sequence-lens-half` and `lengths-ignored`: the lengths of padded sequences."""

from collections.abc import Iterator

from onnx import TensorProto, ValueInfoProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.backends import TENSORRT
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.recurrences import Recurrence

_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_INTEGERS = (TensorProto.INT32, TensorProto.INT64)


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Lengths of a type that no backend takes, beside a type that TensorRT refuses, or that no recurrence sees."""
    for layer in model.layers:
        if layer.sequence_lens:
            yield from _wrong_type(layer)
            yield from _beside_half(layer)
    yield from _ignored(model)


def _wrong_type(layer: Recurrence) -> Iterator[Finding]:
    kind = layer.scope.element_type(layer.sequence_lens)
    if kind not in (None, TensorProto.INT32):
        yield Finding(
            rule="sequence-lens-type",
            severity="error",
            node=layer.shown,
            message=f"sequence_lens {layer.sequence_lens!r} is {TensorProto.DataType.Name(kind).lower()}, "
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


def _ignored(model: ExaminedModel) -> Iterator[Finding]:
    """An input that is named as lengths are, and that no node reads while the recurrence runs over the padding."""
    deaf = [layer for layer in model.main.layers if not layer.sequence_lens]
    for value in model.proto.graph.input:
        if deaf and _looks_like_lengths(value) and value.name not in _names_read(model):
            yield Finding(
                rule="lengths-ignored",
                severity="info" if model.origin.is_traced else "error",
                node=deaf[0].shown,
                message=f"the input {value.name!r} is read by nothing: padding runs through the recurrence, so the "
                "final states and the backward direction depend on it on every backend",
                fix="use them in forward (pack_padded_sequence), and export the model again"
                if model.origin.is_traced
                else "export it with rnnx export --lengths, which hands them to sequence_lens",
            )


def _looks_like_lengths(value: ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    is_row = tensor.elem_type in _INTEGERS and len(tensor.shape.dim) == 1
    return is_row and "len" in value.name.lower()


def _names_read(model: ExaminedModel) -> set[str]:
    outputs = {value.name for value in model.proto.graph.output}
    return outputs.union(*(part.scope.readers for part in model.parts))
