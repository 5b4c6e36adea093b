"""Rows of a batch, taken out of and put back along the axis B of every input or output.

A tensor without that axis is the same for all rows, and is left as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract, TensorSpec

LOUD = 30.0
"""Deviation of a loud row's values: gates saturate."""


FILLS = {"zeros": 0.0, "10,000": 1e4, "NaN": np.nan}
"""What padding is filled with, in place of random values: wrongly used, zeros are mild, 10,000 large, NaN lasts."""


def has_rows(spec: TensorSpec) -> bool:
    """Whether a tensor has one row for each row of the batch; an expression such as `2*B` mixes them."""
    return spec.dims.count("B") == 1


def take_rows(specs: Sequence[TensorSpec], arrays: Mapping[str, Array], rows: Sequence[int]) -> dict[str, Array]:
    """The given rows, in their order, of each array that there is."""
    return {
        spec.name: np.ascontiguousarray(arrays[spec.name].take(rows, spec.dims.index("B")))
        if has_rows(spec)
        else arrays[spec.name]
        for spec in specs
        if spec.name in arrays
    }


def put_rows(
    specs: Sequence[TensorSpec], arrays: Mapping[str, Array], rows: Sequence[int], others: Mapping[str, Array]
) -> dict[str, Array]:
    """Copies of the arrays with the given rows taken from the same rows of `others`."""
    found: dict[str, Array] = {}
    for spec in specs:
        found[spec.name] = arrays[spec.name].copy()
        if has_rows(spec):
            place = (slice(None),) * spec.dims.index("B") + (list(rows),)
            found[spec.name][place] = others[spec.name][place]
    return found


def equally_long(spec: TensorSpec, value: Array, other: Array) -> tuple[Array, Array]:
    """Both as long as the shorter along an axis of no input's size: a padded result ends at its batch's longest row."""
    pairs = enumerate(zip(value.shape, other.shape, strict=True))
    axes = [axis for axis, (size, own) in pairs if size != own]
    if len(axes) != 1 or spec.dims[axes[0]] in ("B", "T") or not isinstance(spec.dims[axes[0]], str):
        return value, other
    least = range(min(value.shape[axes[0]], other.shape[axes[0]]))
    return value.take(least, axes[0]), other.take(least, axes[0])


def padded(contract: Contract, feeds: Mapping[str, Array], fill: float) -> dict[str, Array]:
    """The inputs with `fill` in every float that is past its row's length; of tokens, others of them."""
    lengths = feeds[contract.lengths[0]]
    found = dict(feeds)
    for spec in contract.plain_inputs:
        past = _is_padding(spec, feeds[spec.name].shape, lengths)
        if past is not None:
            kind = feeds[spec.name].dtype.kind
            own = feeds[spec.name]
            other = np.where(own == own.min(), own.max(), own.min())  # for tokens, another that the model knows
            value = np.asarray(fill, spec.dtype) if kind == "f" else other
            found[spec.name] = np.where(past, value, own)
    return found


def live(spec: TensorSpec, value: Array, lengths: Array) -> Array:
    """An output with zeros past each row's length; nothing of one whose time is an expression, for it is not told."""
    spec = cut_in_time(spec, value.shape, lengths)
    past = _is_padding(spec, value.shape, lengths) if len(value.shape) == len(spec.dims) else None
    if past is not None:
        return np.where(past, np.zeros((), value.dtype), value)
    return value if is_told(spec) else np.zeros_like(value)


def cut_in_time(spec: TensorSpec, shape: Sequence[int], lengths: Array) -> TensorSpec:
    """The tensor with its axis named T that is as long as the longest row, as a padded result is cut in PyTorch."""
    others = [axis for axis, dim in enumerate(spec.dims) if isinstance(dim, str) and dim not in ("B", "T")]
    if "T" in spec.dims or len(others) != 1 or len(shape) != len(spec.dims) or shape[others[0]] != lengths.max():
        return spec
    return replace(spec, dims=tuple("T" if axis == others[0] else dim for axis, dim in enumerate(spec.dims)))


def is_told(spec: TensorSpec) -> bool:
    """Whether it is known which of an output's values lie before a row's end: along T, or all of a row's one result."""
    return has_rows(spec) and all(dim in ("B", "T") or isinstance(dim, int) for dim in spec.dims)


def _is_padding(spec: TensorSpec, shape: Sequence[int], lengths: Array) -> Array | None:
    """Where a tensor of axes B and T is past its row's length, broadcast to its shape; None of any other tensor."""
    if not has_rows(spec) or spec.dims.count("T") != 1:
        return None
    batch, time = spec.dims.index("B"), spec.dims.index("T")
    past = np.arange(shape[time])[np.newaxis] >= lengths[:, np.newaxis]  # (B, T)
    sides = [1] * len(shape)
    sides[batch], sides[time] = past.shape
    placed = (past if batch < time else past.T).reshape(sides)
    return np.broadcast_to(placed, tuple(shape))
