"""Several cases as the rows of one ragged batch: one pass over the weights serves them all."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

import numpy as np

from rnnx.truths.cases import Case, time_of
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds
from rnnx_runtime.contract import Recurrence, TensorSpec


def join_cases(contract: Recurrence, cases: Sequence[Case]) -> dict[str, Array]:
    """One case's inputs made of all: rows side by side, shorter times padded with zeros, `lengths` always given."""
    times = [time_of(contract, case.feeds) for case in cases]
    joined = {
        spec.name: np.concatenate(
            [_padded(spec, case.feeds[spec.name], max(times)) for case in cases], spec.dims.index("B")
        )
        for spec in contract.inputs
    }
    lengths = [
        case.feeds.get("lengths", np.full(_batch(contract, case), time))
        for case, time in zip(cases, times, strict=True)
    ]
    return {**joined, "lengths": np.concatenate(lengths)}


def split_outputs(contract: Recurrence, cases: Sequence[Case], outputs: Mapping[str, Array]) -> list[dict[str, Array]]:
    """The outputs of `join_cases` as each case alone would have them."""
    bounds = [0, *accumulate(_batch(contract, case) for case in cases)]
    return [
        {spec.name: _cut(spec, outputs[spec.name], slice(first, end), case) for spec in contract.outputs}
        for case, (first, end) in zip(cases, pairwise(bounds), strict=True)
    ]


def _cut(spec: TensorSpec, value: Array, rows: slice, case: Case) -> Array:
    parts = [rows if dim == "B" else slice(None) for dim in spec.dims]
    if "T" in spec.dims:
        axis = spec.dims.index("T")
        parts[axis] = slice(case.feeds["x"].shape[axis])
    return value[tuple(parts)].copy()


def _padded(spec: TensorSpec, value: Array, time: int) -> Array:
    shape = [time if dim == "T" else size for dim, size in zip(spec.dims, value.shape, strict=True)]
    padded = np.zeros(shape, value.dtype)
    padded[tuple(map(slice, value.shape))] = value
    return padded


def _batch(contract: Recurrence, case: Case) -> int:
    return sizes_from_feeds(contract.inputs, case.feeds)["B"]
