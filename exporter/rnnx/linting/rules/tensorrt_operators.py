"""`tensorrt-refused` and `tensorrt-silent`: operators that TensorRT does not read, or reads as something else.

Asked of the importer of TensorRT for RTX 1.7 (`OnnxParser.supports_operator`), and of the network that it made of each.
"""

from collections.abc import Iterator

from onnx import NodeProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.backends import TENSORRT
from rnnx.linting.rules.examined_model import ExaminedModel, ExaminedScope
from rnnx.linting.rules.recurrences import recurrences_of
from rnnx.linting.rules.scopes import Scope, attributes_of, is_onnx, shown

_SIZES = ("NonZero", "Compress", "Unique")
_SEQUENCES = (
    "SplitToSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase",
    "SequenceLength", "SequenceMap", "ConcatFromSequence",
)  # fmt: skip
_INTEGER = ("MatMulInteger", "ConvInteger", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul")
_UNKNOWN = (
    "AffineGrid", "Bernoulli", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "CenterCropPad",
    "Col2Im", "CumProd", "DFT", "DeformConv", "Det", "MaxRoiPool", "MaxUnpool", "MelWeightMatrix", "Multinomial",
    "NegativeLogLikelihoodLoss", "Optional", "OptionalGetElement", "OptionalHasElement", "SoftmaxCrossEntropyLoss",
    "StringNormalizer", "TfIdfVectorizer",
)  # fmt: skip
REFUSED = {
    **dict.fromkeys(_SIZES, "the size of what it gives depends on values"),
    **dict.fromkeys(_SEQUENCES, "it has no sequences of tensors"),
    **dict.fromkeys(_INTEGER, "it reads int8 as QuantizeLinear and DequantizeLinear alone"),
    **dict.fromkeys(_UNKNOWN, "it has no such operator"),
}
"""Operators of ONNX that the importer refuses, each with the reason."""

_READ_CONTRIB = ("Attention", "Gelu", "GridSample", "LayerNormalization", "MatMulNBits", "MultiHeadAttention", "Trilu")
"""Operators of ONNX Runtime's own that the importer knows all the same, if under another domain."""


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every node that TensorRT refuses, and every node that it computes otherwise than ONNX."""
    for part in model.parts:
        for node in part.scope.nodes:
            if _why_refused(node):
                yield _refusal(node, f"TensorRT RTX refuses it, {_why_refused(node)}")
            yield from _silent(node)
        yield from _nested(part)


def _why_refused(node: NodeProto) -> str:
    if node.domain == "com.microsoft" and node.op_type not in _READ_CONTRIB:
        return "an operator of ONNX Runtime's own"
    return REFUSED.get(node.op_type, "") if is_onnx(node, node.op_type) else ""


def _refusal(node: NodeProto, message: str) -> Finding:
    return Finding(
        rule="tensorrt-refused",
        severity="error",
        node=shown(node),
        message=message,
        fix="run this model in ONNX Runtime, or write that part with other operators",
        backends=("tensorrt-rtx",),
    )


def _nested(part: ExaminedScope) -> Iterator[Finding]:
    """A recurrent node in the body of a Scan, and an If in an If in an If."""
    holders = list(_holders(part.scope))
    inside = [node for node in holders if is_onnx(node, "Scan")]
    layers = [layer.node for layer in recurrences_of(part.scope)]
    for node in layers if inside else ():
        yield _refusal(node, "it stands in the body of a Scan, where TensorRT builds no recurrent operator")
    for node in part.scope.nodes if sum(is_onnx(own, "If") for own in holders) > 1 else ():
        if is_onnx(node, "If"):
            yield _refusal(node, "a branch within a branch within a branch, which TensorRT refuses")


def _holders(scope: Scope) -> Iterator[NodeProto]:
    """The nodes whose bodies a scope stands in, from the inside out."""
    inner: Scope | None = scope
    while inner is not None and inner.holder is not None:
        yield inner.holder
        inner = inner.outer


def _silent(node: NodeProto) -> Iterator[Finding]:
    what = _otherwise(node)
    if what:
        yield Finding(
            rule="tensorrt-silent",
            severity="warning",
            node=shown(node),
            message=what,
            fix="compare with rnnx verify (the row tensorrt-network needs no GPU), or write it with other operators",
            backends=TENSORRT,
        )


def _otherwise(node: NodeProto) -> str:
    """How TensorRT computes a node otherwise than ONNX says; empty where it does not."""
    own = attributes_of(node)
    if is_onnx(node, "Trilu") and "upper" not in own:
        return "no attribute `upper`: TensorRT does not take ONNX's default, the upper triangle, and says nothing"
    if is_onnx(node, "MaxPool", "AveragePool", "LpPool") and own.get("ceil_mode"):
        return "ceil_mode=1: at some sizes TensorRT places the last window otherwise, and says nothing"
    if is_onnx(node, "Resize") and own.get("coordinate_transformation_mode") == b"pytorch_half_pixel":
        return "pytorch_half_pixel: at some sizes TensorRT reads other places, and says nothing"
    return ""
