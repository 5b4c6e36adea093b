"""Inputs that say how many steps of an axis each row has: lengths as whole numbers, or as parts of the whole (0 to 1).

A contract names the lengths that reach a recurrent layer as `(B,)`. A model may have others, which a mask or a gather
reads: they are told by the example, whose largest one is the size of an axis, and matter for drawing values alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from rnnx.truths.cases import Lengths, lengths_of
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract, TensorSpec

_MOST_COLUMNS = 4
"""Lengths of several sequences may stand side by side; more columns than this are something else."""


@dataclass(frozen=True, kw_only=True)
class CountedAxis:
    """The input and the axis whose steps are counted."""

    input: str
    axis: int


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The axis that each column of an input counts; `is_relative` where it counts parts of it."""

    columns: tuple[CountedAxis, ...]
    is_relative: bool = False

    def drawn(
        self, chance: np.random.Generator, shape: tuple[int, ...], sizes: Mapping[str, tuple[int, ...]], kind: Lengths
    ) -> Array:
        """Lengths of a shape, for inputs of these shapes."""
        count = len(self.columns)
        rows = int(np.prod(shape)) // count
        columns = [self._column(chance, sizes[own.input][own.axis], rows, kind) for own in self.columns]
        return np.stack(columns, -1).reshape(shape)

    def full(self, shape: tuple[int, ...], sizes: Mapping[str, tuple[int, ...]]) -> Array:
        """The lengths of rows without padding."""
        most = [1 if self.is_relative else sizes[own.input][own.axis] for own in self.columns]
        return np.broadcast_to(np.array(most), (int(np.prod(shape)) // len(most), len(most))).reshape(shape)

    def _column(self, chance: np.random.Generator, most: int, rows: int, kind: Lengths) -> Array:
        found: Array = lengths_of(chance, most, rows, kind)
        if not self.is_relative:
            return found
        parts = (found / most).astype(np.float32)
        # Whoever multiplies by the size and cuts the fraction off shall have the whole number, in doubles too.
        return np.where(parts.astype(np.float64) * most < found, np.nextafter(parts, np.float32(2)), parts)


def counts_of(contract: Contract, example: Mapping[str, Array]) -> dict[str, Counts]:
    """The inputs of a contract that count steps, by name, as far as the example tells."""
    states = {pair.input for pair in contract.states}
    names = [spec.name for spec in contract.inputs if spec.name not in states and spec.dims]
    found = {name: _counts(contract, name, example) for name in names if name not in contract.table_sizes}
    return {name: own for name, own in found.items() if own is not None}


def _counts(contract: Contract, name: str, example: Mapping[str, Array]) -> Counts | None:
    spec, value = _spec(contract, name), example[name]
    is_relative = value.dtype.kind == "f"
    if value.dtype.kind not in "iuf" or not value.size or (is_relative and not (value > 0).all()):
        return None
    columns = value.reshape(-1, _column_count(spec))
    wanted = [1.0 if is_relative else own for own in columns.max(0)]
    if is_relative and (columns.max(0) != 1).any():
        return None
    axes = [_axis(contract, spec, None if is_relative else int(most), example) for most in wanted]
    if any(own is None for own in axes) or (value < (0 if is_relative else 1)).any():
        return None
    return Counts(columns=tuple(own for own in axes if own is not None), is_relative=is_relative)


def _axis(contract: Contract, spec: TensorSpec, most: int | None, example: Mapping[str, Array]) -> CountedAxis | None:
    """The axis of another input that has `most` steps; at least so many will do for lengths that a contract names."""
    known = spec.name in contract.lengths
    best: tuple[tuple[int, int, int], CountedAxis] | None = None
    for distance, own in _candidates(contract, spec, example):
        size = example[own.input].shape[own.axis]
        if most is not None and (size < most or (size > most and not known)):
            continue
        rank = (int(size != most), -_alike(spec.name, own.input), distance)
        if best is None or rank < best[0]:
            best = (rank, own)
    return None if best is None else best[1]


def _candidates(
    contract: Contract, spec: TensorSpec, example: Mapping[str, Array]
) -> Iterator[tuple[int, CountedAxis]]:
    """The first free axis of each input that has the rows of `spec`, with how far it stands from it in the call."""
    names = [own.name for own in contract.inputs]
    for other in contract.plain_inputs:
        axis = None if other.name == spec.name else _axis_beside_rows(spec, other, example)
        if axis is not None:
            apart = names.index(spec.name) - names.index(other.name)
            yield 2 * abs(apart) + (apart < 0), CountedAxis(input=other.name, axis=axis)


def _axis_beside_rows(spec: TensorSpec, other: TensorSpec, example: Mapping[str, Array]) -> int | None:
    """The first free axis of `other` that is none of the rows of `spec`; None where it does not have those rows."""
    rows = {dim for dim in spec.dims if isinstance(dim, str)}
    if rows <= {*other.dims}:
        free = (axis for axis, dim in enumerate(other.dims) if isinstance(dim, str) and dim not in rows)
        return next(free, None)
    # `docs.view(-1, w)` beside `lengths.view(-1)` ties the product of two axes alone: their sizes tell the rest.
    rank, table = len(spec.dims), len(spec.dims) > 1 and len(other.dims) > len(spec.dims)
    is_alike = table and example[other.name].shape[:rank] == example[spec.name].shape
    return rank if is_alike and isinstance(other.dims[rank], str) else None


def _column_count(spec: TensorSpec) -> int:
    last = spec.dims[-1]
    return last if len(spec.dims) > 1 and isinstance(last, int) and last <= _MOST_COLUMNS else 1


def _alike(name: str, other: str) -> int:
    """How many letters two names share at their beginning or their end, as `src` and `src_len` do."""

    def shared(one: str, two: str) -> int:
        return next(
            (place for place, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two))
        )

    return max(shared(name, other), shared(name[::-1], other[::-1]))


def _spec(contract: Contract, name: str) -> TensorSpec:
    return next(spec for spec in contract.inputs if spec.name == name)
