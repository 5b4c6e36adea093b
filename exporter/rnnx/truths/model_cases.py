"""Seeded inputs of a whole model, like its example's but of other sizes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rnnx.truths.cases import Case, Lengths, distinct_sizes, lengths_of, random_feeds, size_name
from rnnx.truths.counted_axes import Counts, counts_of
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import known_shape, shape_from_sizes, sizes_from_feeds
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.dim_expressions import is_expression, symbols_of

SIZES = ((1, 1), (2, 2), (3, 1), (7, 3))
"""(T, B) of the cases besides those around the example's own size: few, for a golden file holds them all."""

_ZERO_STATE_SIZES = (5, 3)

_SHORT_SIZES = (6, 3)

EXAMPLE = "example"
"""The name of the case that is the example itself."""


@dataclass(frozen=True, kw_only=True)
class CaseSource:
    """What cases are drawn for: the contract, and the example's values, which say what ranges integers have."""

    contract: Contract
    example: Mapping[str, Array]

    @property
    def sizes(self) -> dict[str, int]:
        """The example's size of each symbolic dim."""
        return sizes_from_feeds(self.contract.inputs, self.example)

    @property
    def states(self) -> frozenset[str]:
        """The names of the inputs that are states."""
        return frozenset(pair.input for pair in self.contract.states)

    @cached_property
    def counts(self) -> dict[str, Counts]:
        """The inputs that say how many steps of an axis each row has."""
        return counts_of(self.contract, self.example)


def drawn(
    source: CaseSource,
    time: int,
    batch: int,
    seed: int | Sequence[int],
    *,
    scale: float = 1.0,
    lengths: Lengths = "random",
) -> Case:
    """The case of one (T, B) for any model, as far as it leaves them free; other dims are the example's."""
    bare = source.contract.bare
    if bare is not None:
        feeds = random_feeds(bare, time, batch, seed, scale=scale, lengths=lengths)
        return Case(name=size_name(bare, time, batch), feeds=feeds)
    return drawn_case(source, _at(source.sizes, time, batch, 0), seed, scale=scale, lengths=lengths)


def distinct(source: CaseSource, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The (T, B) that differ in what the model leaves free."""
    if source.contract.bare is not None:
        return distinct_sizes(source.contract.bare, pairs)
    free = source.contract.free_dims
    found = {(time if "T" in free else 1, batch if "B" in free else 1): None for time, batch in pairs}
    return list(found)


def model_sizes(source: CaseSource) -> list[dict[str, int]]:
    """The sizes of the cases besides the example's: 1, 2 and odd ones, a little more time than its own, and one row.

    Other dims than B and T go around the example's size, one less, the same, one more, and are 1 in one case.
    """
    own = source.sizes
    time = own.get("T", 1)
    pairs = [*SIZES, (time + 3, 2), (time, 1)]
    found = [_at(own, *pair, shift) for pair, shift in zip(pairs, (0, 1, 0, -1, 1, 0), strict=True)]
    found += [{dim: size if dim in ("T", "B") else 1 for dim, size in own.items()}] if own.keys() - {"T", "B"} else []
    fitting = (fitting_sizes(source, sizes) for sizes in found)
    return [dict(pair) for pair in dict.fromkeys(tuple(sizes.items()) for sizes in fitting)]


def in_range(source: CaseSource, sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes with those outside of the contract's ranges moved to the nearest inside."""
    ranges = source.contract.ranges
    return {dim: ranges[dim].nearest(size) if dim in ranges else size for dim, size in sizes.items()}


def fitting_sizes(source: CaseSource, sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes nearest to these at which no input is empty, as a dim of `T - 4` would be; the example's are some."""
    found = in_range(source, sizes)
    while True:
        symbols = [symbol for spec in source.contract.inputs for symbol in _symbols_of_empty(spec, found)]
        moved = {dim: _nearer(found[dim], source.sizes[dim]) for dim in symbols}
        if all(found[dim] == size for dim, size in moved.items()):
            return found
        found |= moved


def drawn_cases(source: CaseSource, seed: int) -> Iterator[Case]:
    """A case for each of the sizes with non-zero states, one of short lengths and one of zero states."""
    for sizes in model_sizes(source):
        yield drawn_case(source, sizes, seed)
    if source.contract.lengths or source.counts:  # PyTorch cuts a packed sequence's result at its longest row
        case = drawn_case(source, _at(source.sizes, *_SHORT_SIZES, 0), seed, lengths="short")
        yield Case(name=f"{case.name} short lengths", feeds=case.feeds)
    if source.states:
        case = drawn_case(source, _at(source.sizes, *_ZERO_STATE_SIZES, 0), seed)
        zeros = {name: np.zeros_like(case.feeds[name]) for name in source.states}
        yield Case(name=f"{case.name} zero state".strip(), feeds={**case.feeds, **zeros})


def drawn_case(
    source: CaseSource,
    sizes: Mapping[str, int],
    seed: int | Sequence[int],
    *,
    scale: float = 1.0,
    lengths: Lengths = "random",
) -> Case:
    """The case of these sizes: floats normal, integers in the example's range, masks true at the first place.

    Floats have the deviation `scale`, and no sign where the example's have none; states are uniform in ±1; random
    lengths lie in 1..T, and one is T, where T is the size of the axis that they count. A size outside of the contract's
    ranges becomes the nearest inside.
    """
    chance = np.random.default_rng([*np.atleast_1d(seed), *sizes.values()])
    sizes, feeds = fitting_sizes(source, sizes), {}
    shapes = {spec.name: shape_from_sizes(spec, sizes) for spec in source.contract.inputs}
    for spec in source.contract.inputs:
        shape = shapes[spec.name]
        if spec.name in source.counts:
            feeds[spec.name] = source.counts[spec.name].drawn(chance, shape, shapes, lengths).astype(spec.dtype)
        elif spec.name in source.contract.lengths:
            most = sizes.get("T") or int(source.example[spec.name].max())
            feeds[spec.name] = lengths_of(chance, most, shape[0], lengths).astype(spec.dtype)
        else:
            feeds[spec.name] = _drawn(chance, source, spec, shape, scale)
    return Case(name=sizes_name(sizes), feeds=feeds)


def with_sorted_lengths(case: Case, contract: Contract) -> Case:
    """The case for a model that takes its rows by falling length alone."""
    falling = {name: np.sort(case.feeds[name])[::-1].copy() for name in contract.lengths}
    return Case(name=case.name, feeds={**case.feeds, **falling})


def sizes_name(sizes: Mapping[str, int]) -> str:
    """`T5 B3 D1=4`; a model whose sizes are all fixed has none to name."""
    ordered = sorted(sizes, key=lambda dim: (dim not in ("T", "B"), dim != "T", dim))
    texts = (f"{dim}{sizes[dim]}" if dim in ("T", "B") else f"{dim}={sizes[dim]}" for dim in ordered)
    return " ".join(texts) or "fixed sizes"


def _symbols_of_empty(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[str, ...]:
    shape = known_shape(spec, sizes)
    pairs = zip(spec.dims, shape or (), strict=True)
    return tuple(symbol for dim, size in pairs if size < 1 and is_expression(dim) for symbol in symbols_of(dim))


def _nearer(size: int, goal: int) -> int:
    return size + (goal > size) - (goal < size)


def _at(own: Mapping[str, int], time: int, batch: int, shift: int) -> dict[str, int]:
    named = {"T": time, "B": batch}
    return {dim: named.get(dim, max(1, size + shift)) for dim, size in own.items()}


def _drawn(
    chance: np.random.Generator, source: CaseSource, spec: TensorSpec, shape: tuple[int, ...], scale: float
) -> Array:
    example = source.example[spec.name]
    values: Any
    if spec.dtype == "bool":
        values = np.atleast_1d(chance.random(shape) < 0.7)
        values[..., :1] = True  # a row without any is NaN in a softmax, in PyTorch too
        values = values.reshape(shape)
    elif np.dtype(spec.dtype).kind in "iu":
        values = chance.integers(example.min(), example.max(), shape, endpoint=True)
    elif spec.name in source.states:
        values = chance.uniform(-1, 1, shape)
    else:
        values = chance.standard_normal(shape, np.float32) * np.float32(scale)
        values = np.abs(values) if example.min() >= 0 else values
    return np.asarray(values, spec.dtype)
