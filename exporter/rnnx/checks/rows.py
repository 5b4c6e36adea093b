"""Rows of a batch, taken out of and put back along the axis B of every input or output."""

from collections.abc import Mapping, Sequence

import numpy as np

from rnnx.truths.cases import Array
from rnnx_runtime.contract import TensorSpec


def take_rows(specs: Sequence[TensorSpec], arrays: Mapping[str, Array], rows: Sequence[int]) -> dict[str, Array]:
    """The given rows, in their order, of each array that there is."""
    return {
        spec.name: np.ascontiguousarray(arrays[spec.name].take(rows, spec.dims.index("B")))
        for spec in specs
        if spec.name in arrays
    }


def put_rows(
    specs: Sequence[TensorSpec], arrays: Mapping[str, Array], rows: Sequence[int], others: Mapping[str, Array]
) -> dict[str, Array]:
    """Copies of the arrays with the given rows taken from the same rows of `others`."""
    found: dict[str, Array] = {}
    for spec in specs:
        place = (slice(None),) * spec.dims.index("B") + (list(rows),)
        found[spec.name] = arrays[spec.name].copy()
        found[spec.name][place] = others[spec.name][place]
    return found


def join_rows(specs: Sequence[TensorSpec], parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The rows of several batches as one."""
    return {spec.name: np.concatenate([part[spec.name] for part in parts], spec.dims.index("B")) for spec in specs}
