"""`weights-not-finite`: NaN or infinity among a recurrence's weights, which no comparison of outputs survives."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, numpy_helper

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.outside_values import with_outside_values
from rnnx.linting.rules.recurrences import Recurrence
from rnnx.linting.rules.scopes import input_of

_PLACES = (1, 2, 3, 5, 6, 7)
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every recurrent node with such a weight or constant state."""
    for layer in model.layers:
        for place in _PLACES:
            name = input_of(layer.node, place)
            count = _not_finite(layer, name, model.folder)
            if count:
                yield Finding(
                    rule="weights-not-finite",
                    severity="error",
                    node=layer.shown,
                    message=f"{name!r} has {count:,} values that are NaN or infinite: what is computed from them is "
                    "NaN, or on some backends a finite number that means nothing",
                    fix="take a checkpoint from before the training diverged, and export it again",
                )


def _not_finite(layer: Recurrence, name: str, folder: Path | None) -> int:
    tensor = layer.scope.tensor(name) if name else None
    if tensor is None or tensor.data_type not in _FLOATS:
        return 0
    with suppress(OSError, ValueError, KeyError, checker.ValidationError):  # absent, outside, or cut
        if tensor.data_location == TensorProto.EXTERNAL:
            if folder is None:
                return 0
            tensor = with_outside_values(tensor, folder)
        values = numpy_helper.to_array(tensor)
        return int(values.size - np.count_nonzero(np.isfinite(values)))
    return 0
