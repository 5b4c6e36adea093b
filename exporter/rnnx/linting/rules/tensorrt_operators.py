"""`tensorrt-refused`: operators that TensorRT does not read.

Asked of the importer of TensorRT for RTX 1.7 (`OnnxParser.supports_operator`), and by the tests of every operator that
ONNX ships (`benchmarks/backend_tests.py`).
"""

from collections.abc import Iterator

from onnx import NodeProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.scopes import is_onnx, shown

_SIZES = ("NonZero", "Compress", "Unique")
_SEQUENCES = (
    "SplitToSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase",
    "SequenceLength", "SequenceMap", "ConcatFromSequence",
)  # fmt: skip
_INTEGER = ("MatMulInteger", "ConvInteger", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul")
_UNKNOWN = (
    "AffineGrid", "Bernoulli", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "CenterCropPad",
    "Col2Im", "CumProd", "DFT", "DeformConv", "Det", "MaxRoiPool", "MaxUnpool", "MelWeightMatrix", "Multinomial",
    "NegativeLogLikelihoodLoss", "ImageDecoder", "BitCast", "SwiGLU", "FlexAttention", "Optional",
    "OptionalGetElement", "OptionalHasElement", "RegexFullMatch", "SoftmaxCrossEntropyLoss", "StringConcat",
    "StringNormalizer", "StringSplit", "TfIdfVectorizer",
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
    """Every node of an operator that TensorRT refuses."""
    for part in model.parts:
        for node in part.scope.nodes:
            if _why_refused(node):
                yield refusal(node, f"TensorRT RTX refuses it, {_why_refused(node)}")


def _why_refused(node: NodeProto) -> str:
    if node.domain == "com.microsoft" and node.op_type not in _READ_CONTRIB:
        return "an operator of ONNX Runtime's own"
    return REFUSED.get(node.op_type, "") if is_onnx(node, node.op_type) else ""


def refusal(node: NodeProto, message: str) -> Finding:
    """The finding that TensorRT does not take a node; the message says why."""
    return Finding(
        rule="tensorrt-refused",
        severity="error",
        node=shown(node),
        message=message,
        fix="run this model in ONNX Runtime, or write that part with other operators",
        backends=("tensorrt-rtx",),
    )
