"""What an engine is known to refuse in a graph that ONNX Runtime runs."""

from collections.abc import Sequence
from pathlib import Path

import onnx

from rnnx.linting.findings import Finding

_SIZES = ("NonZero", "Compress", "Unique")
_SEQUENCES = (
    "SplitToSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase",
    "SequenceLength", "ConcatFromSequence",
)  # fmt: skip
_UNKNOWN = (
    "Bernoulli", "Multinomial", "Det", "DFT", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot",
    "Col2Im", "CenterCropPad", "DeformConv", "MaxUnpool", "NegativeLogLikelihoodLoss", "CumProd",
)  # fmt: skip
_REFUSED = {
    **dict.fromkeys(_SIZES, "the size of what it gives depends on values"),
    **dict.fromkeys(_SEQUENCES, "it has no sequences of tensors"),
    **dict.fromkeys(_UNKNOWN, "it has no such operator"),
}
"""Operators that the importer of TensorRT RTX 1.7 refuses, each with the reason; TensorRT's own reads a few of them."""


def engine_notes(path: Path, findings: Sequence[Finding]) -> tuple[str, ...]:
    """What TensorRT RTX refuses of a written model, by operator, and its findings that concern some backends alone."""
    model = onnx.load(path, load_external_data=False)
    found = {node.op_type: node.name for node in reversed(model.graph.node) if node.op_type in _REFUSED}
    refused = [
        f"{operator} {name!r}: TensorRT RTX refuses it, {_REFUSED[operator]}" for operator, name in found.items()
    ]
    narrow = [own for own in findings if own.severity == "error" and own.backends]
    return (*refused, *(f"{own.node}: {own.message} ({', '.join(own.backends)})" for own in narrow))
