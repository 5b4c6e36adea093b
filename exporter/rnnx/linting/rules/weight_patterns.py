"""`weights-zero` and `weights-repeated`: recurrent weights that no training leaves behind."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.outside_values import values_of
from rnnx.linting.rules.recurrences import Recurrence
from rnnx.linting.rules.scopes import input_of

_RECURRENT = 2


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Recurrent weights of zeros, the same ones in both directions, and the same ones in two layers."""
    seen: dict[str | int, Recurrence] = {}
    layers = [each for each in model.layers if not each.quantized]
    for layer in layers:
        name = input_of(layer.node, _RECURRENT)
        values = _recurrent_weights(layer, model.folder)
        if values is not None and values.size > 1:
            yield from _zeros(layer, values)
            yield from _directions(layer, values, model.folder)
        by_name = values is None or len(layers) == 1  # there is no other to compare with
        first = seen.setdefault(name if by_name else hash(values.tobytes()), layer)
        is_other = first is not layer and input_of(first.node, 1) != input_of(layer.node, 1)
        if is_other and (values is None or not _is_zero(values)) and first.scope is layer.scope:
            yield _repeated(
                layer, f"it has the recurrent weights {name!r} of {first.shown}, and input weights of its own"
            )


def _recurrent_weights(layer: Recurrence, folder: Path | None) -> Any:
    tensor = layer.scope.tensor(input_of(layer.node, _RECURRENT))
    return None if tensor is None else values_of(tensor, folder)


def _zeros(layer: Recurrence, values: Any) -> Iterator[Finding]:
    empty = [place for place, own in enumerate(values) if own.size and _is_zero(own)]
    if empty:
        yield Finding(
            rule="weights-zero",
            severity="warning",
            node=layer.shown,
            message=f"its recurrent weights R of direction {empty[0]} are all zero: a layer that remembers nothing but "
            "through its gates, as if they had never been loaded",
            fix="compare them with the checkpoint's (rnnx inspect), and export again",
        )


def _directions(layer: Recurrence, values: Any, folder: Path | None) -> Iterator[Finding]:
    tensor = layer.scope.tensor(input_of(layer.node, 1))
    inputs = None if tensor is None else values_of(tensor, folder)
    both = [own for own in (values, inputs) if own is not None and len(own) == 2]
    if len(both) == 2 and not _is_zero(values) and all(np.array_equal(own[0], own[1]) for own in both):
        yield _repeated(layer, "both directions have the same weights")


def _repeated(layer: Recurrence, what: str) -> Finding:
    return Finding(
        rule="weights-repeated",
        severity="warning",
        node=layer.shown,
        message=f"{what}: no training leaves them so, a conversion may",
        fix="compare them with the checkpoint's (rnnx inspect), and export again",
    )


def _is_zero(values: Any) -> bool:
    with np.errstate(all="ignore"):  # a forged NaN can be one that signals
        return not values.any()
