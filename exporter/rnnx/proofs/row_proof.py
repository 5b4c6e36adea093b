"""How the rows of a model's batch go together, found by running it: each beside other rows and padding."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnx.proofs.running_model import RunningModel
from rnnx.truths.counted_axes import counts_of
from rnnx.truths.model_cases import CaseSource, drawn_case, with_sorted_lengths
from rnnx.truths.rows import (
    FILLS,
    LOUD,
    cut_in_time,
    equally_long,
    has_rows,
    is_told,
    live,
    padded,
    put_rows,
    take_rows,
)
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Batching, Contract, PaddingKind
from rnnx_runtime.dim_expressions import is_expression, symbols_of

BATCH = 3

LEAST_TIME = 5
"""Time steps, where the model leaves its time free: enough that falling lengths differ."""

MOST_TIME = 50
"""Time steps that are enough for any row to reach another: a longer example is tried where the model wants more."""


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """Inputs of a batch that leave the result of some rows as it is, and what is different about the others.

    `rows` are those rows of the whole batch, in the order in which they come here, first.
    """

    what: str
    feeds: Mapping[str, Array]
    rows: tuple[int, ...]


def batching_of(model: RunningModel, contract: Contract, example: Mapping[str, Any]) -> Batching:
    """Whether a row's result depends on its mates, on its place or on its padding.

    Args:
        model: what runs it.
        contract: its inputs, outputs, states and lengths.
        example: the example's value of every input, states included: arrays or tensors.
    """
    no_padding: PaddingKind = "unknown" if contract.lengths else "ignored"
    if "B" not in contract.free_dims:
        reason = "no axis is named B, on which rows could be changed"
        return Batching(rows="unknown", padding=no_padding, reason=reason)
    mixing = [
        spec for spec in contract.inputs if any(is_expression(dim) and "B" in symbols_of(dim) for dim in spec.dims)
    ]
    if mixing:
        reason = f"input {mixing[0].name!r} {mixing[0].shape} has no axis B to tell rows by"
        return Batching(rows="unknown", padding=no_padding, reason=reason)
    given = {spec.name: np.asarray(example[spec.name], spec.dtype) for spec in contract.inputs}
    own = CaseSource(contract=contract, example=given).sizes
    given, constant = _varied(model, contract, given)
    if constant:
        reason = f"the example's {constant!r} has one value alone, and {model.name} takes no other"
        return Batching(rows="unknown", padding=no_padding, reason=reason)
    source = CaseSource(contract=contract, example=given)
    sizes = {dim: max(size, LEAST_TIME) if dim == "T" else BATCH if dim == "B" else size for dim, size in own.items()}
    try:
        tried, coupled = _coupled_at(model, source, sizes)
    except Exception as error:  # the model's own, which may raise anything
        return Batching(rows="unknown", padding=no_padding, reason=model.raised(f"a batch of {BATCH}", error))
    if coupled:
        return Batching(rows="coupled", padding=no_padding, reason=coupled)
    mixed = [spec for spec in contract.outputs if not has_rows(spec)]
    if mixed:
        reason = f"output {mixed[0].name!r} {mixed[0].shape} has no axis B to tell rows by"
        return Batching(rows="unknown", padding=no_padding, reason=reason)
    try:
        padding, reason = _padding(model, source, tried)
    except Exception as error:
        return Batching(padding="unknown", reason=model.raised("other values in the padding", error))
    return Batching(padding=padding, reason=reason)


def _varied(model: RunningModel, contract: Contract, example: dict[str, Array]) -> tuple[dict[str, Array], str]:
    """The values that each input may have, of integers at least two; or the name of one of which no second is known.

    A value next to the only one of the example is tried; a token beyond the vocabulary is refused.
    """
    varied, counts = dict(example), counts_of(contract, example)
    for spec in contract.plain_inputs:
        value = example[spec.name]
        if value.dtype.kind != "i" or value.min() != value.max() or spec.name in counts:
            continue
        for other in (value.min() + 1, value.min() - 1):
            tried = {**example, spec.name: np.full_like(value, other)}
            try:
                model.run(tried)
            except Exception:
                continue
            varied[spec.name] = _with_last(value, other)
            break
        else:
            return varied, spec.name
    return varied, ""


def _with_last(value: Array, other: int) -> Array:
    """Values with another one at the end, in an array of as many axes."""
    found = value.copy() if value.size > 1 else np.repeat(np.atleast_1d(value), 2, axis=0)
    found.flat[-1] = other
    return found


def _coupled_at(model: RunningModel, source: CaseSource, sizes: Mapping[str, int]) -> tuple[Mapping[str, int], str]:
    """The sizes to try at, and how a row's result depends on the others there."""
    short = {dim: min(size, MOST_TIME) if dim == "T" else size for dim, size in sizes.items()}
    if short != sizes:
        try:
            return short, _coupled(model, source, short)
        except Exception:  # the model's own: it may want a longer time
            pass
    return sizes, _coupled(model, source, sizes)


def _coupled(model: RunningModel, source: CaseSource, sizes: Mapping[str, int]) -> str:
    """How a row's result depends on the others; empty where it does not."""
    contract = source.contract
    falling = with_sorted_lengths(drawn_case(source, sizes, seed=0), contract).feeds
    whole = model.run(falling)
    rowed = [spec for spec in contract.outputs if has_rows(spec) and whole[spec.name].ndim == len(spec.dims)]
    for trial in _other_mates(source, sizes, falling):
        found = model.run(trial.feeds)
        own, expected = take_rows(rowed, found, range(len(trial.rows))), take_rows(rowed, whole, trial.rows)
        for spec in rowed:
            if not model.alike(*equally_long(spec, own[spec.name], expected[spec.name])):
                return f"output {spec.name!r} of a row differs {trial.what}"
    return ""


def _other_mates(source: CaseSource, sizes: Mapping[str, int], feeds: Mapping[str, Array]) -> Iterator[_Trial]:
    inputs = source.contract.inputs
    for rows in ((0, 1), (1, 2)):  # and none alone, for a squeeze drops an axis of size 1
        yield _Trial(what="beside fewer rows", feeds=take_rows(inputs, feeds, rows), rows=rows)
    others = with_sorted_lengths(drawn_case(source, sizes, seed=1, scale=LOUD), source.contract).feeds
    floats = [name for name, value in others.items() if value.dtype.kind == "f" and name not in source.counts]
    nan = {**others} | {name: np.full_like(others[name], np.nan) for name in floats}
    mates = list(range(1, sizes["B"]))
    yield _Trial(what="beside loud rows", feeds=put_rows(inputs, feeds, mates, others), rows=(0,))
    yield _Trial(what="beside rows of NaN", feeds=put_rows(inputs, feeds, mates, nan), rows=(0,))


def _padding(model: RunningModel, source: CaseSource, sizes: Mapping[str, int]) -> tuple[PaddingKind, str]:
    """Whether the padding gets into a result, and how."""
    contract = source.contract
    if not contract.lengths:
        return "ignored", ""
    if len(contract.lengths) > 1:
        return "unknown", "several lengths, one of which may mask what another pads"
    lengths = contract.lengths[0]
    feeds = with_sorted_lengths(drawn_case(source, sizes, seed=0), contract).feeds
    whole = model.run(feeds)
    if not any(is_told(cut_in_time(spec, whole[spec.name].shape, feeds[lengths])) for spec in contract.outputs):
        return "unknown", "no output's axes tell which of its values lie before a row's end"
    is_changed = False
    for word, fill in FILLS.items():
        filled = padded(contract, feeds, fill)
        is_changed |= any(not np.array_equal(filled[name], value, equal_nan=True) for name, value in feeds.items())
        found = model.run(filled)
        for spec in contract.outputs:
            seen = live(spec, found[spec.name], feeds[lengths])
            if not model.alike(seen, live(spec, whole[spec.name], feeds[lengths])):
                return "read", f"output {spec.name!r} differs where the padding is {word}"
    return (
        ("ignored", "") if is_changed else ("unknown", "no input has the axes B and T, which padding would lie along")
    )
