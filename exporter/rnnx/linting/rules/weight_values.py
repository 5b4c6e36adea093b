"""`weights-not-finite`: NaN or infinity among a model's weights, which no comparison of outputs survives."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.outside_values import values_of
from rnnx.linting.rules.scopes import Scope, shown

_RECURRENT = ("LSTM", "GRU", "RNN")
_PLACES = {
    **dict.fromkeys(_RECURRENT, (1, 2, 3, 5, 6, 7)),
    "DynamicQuantizeLSTM": (1, 2, 3, 5, 6, 7),
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm"), (1, 2)),
    "MatMul": (0, 1),
}
"""Where a node has weights, in which infinity has no meaning either."""

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every node with such a weight or constant state, and every other constant with a NaN: masks hold infinities."""
    for part in model.parts:
        for node in part.scope.nodes:
            for place, name in enumerate(node.input):
                weighs = place in _PLACES.get(node.op_type, ())
                count = _not_finite(part.scope, name, model.folder, only_nan=not weighs)
                if count:
                    yield _finding(node, name, count)


def _finding(node: NodeProto, name: str, count: int) -> Finding:
    return Finding(
        rule="weights-not-finite",
        severity="error",
        node=shown(node),
        message=f"{name!r} has {count:,} values that are NaN or infinite: what is computed from them is NaN, or on "
        "some backends a finite number that means nothing",
        fix="take a checkpoint from before the training diverged, and export it again",
    )


def _not_finite(scope: Scope, name: str, folder: Path | None, *, only_nan: bool) -> int:
    tensor = scope.tensor(name) if name else None
    if tensor is None or tensor.data_type not in _FLOATS:
        return 0
    values = values_of(tensor, folder)
    if values is None:
        return 0
    return int(np.count_nonzero(np.isnan(values)) if only_nan else values.size - np.count_nonzero(np.isfinite(values)))
