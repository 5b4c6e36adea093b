"""A row of a batch is a sequence of its own: neither its place, nor its mates, nor their number changes its result.

`bitwise` says whether no bit changed. A backend may well compute a batch of one by another kernel than a batch of five,
adding in another order; both are then within the limit of the same truth, so that they differ by at most twice it.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from rnnx.checks.differences import CheckCase, Difference, allowed_apart, conclude, differences
from rnnx.checks.probe import Probe
from rnnx.checks.rows import join_rows, put_rows, take_rows
from rnnx.parity.results import CheckResult
from rnnx.truths.cases import Array, Case, random_feeds, sizes_of, time_of

LOUD = 30.0
"""Deviation of a loud mate's `x`: its gates saturate."""


def check_batch_order(probe: Probe, cases: Sequence[CheckCase]) -> CheckResult:
    """A batch in another order gives the same rows in that order."""
    done = "the batch in reverse and shuffled"
    return conclude(probe, "batch-order", done, (_reordered(probe, start) for start in _several(probe, cases)))


def check_batch_mates(probe: Probe, cases: Sequence[CheckCase]) -> CheckResult:
    """A row is the same alone, beside its mates, beside loud ones and beside mates of NaN."""
    done = "rows alone, beside loud mates and beside mates of NaN"
    parts = (part(probe, start) for start in _several(probe, cases) for part in (_alone, _beside_others))
    return conclude(probe, "batch-mates", done, parts)


def check_batch_split(probe: Probe, cases: Sequence[CheckCase]) -> CheckResult:
    """A batch in two parts gives the rows of the whole."""
    return conclude(probe, "batch-split", "the batch in two parts", _splits(probe, cases))


def _reordered(probe: Probe, start: CheckCase) -> Iterator[Difference]:
    expected, limits = _expected(probe, start)
    batch = _batch(probe, start)
    for word, order in (("reversed", range(batch)[::-1]), ("shuffled", np.random.default_rng(0).permutation(batch))):
        case = _rows_of(probe, start, list(order), word)
        yield from differences(case.name, probe.run(case), take_rows(probe.outputs, expected, list(order)), limits)


def _alone(probe: Probe, start: CheckCase) -> Iterator[Difference]:
    expected, limits = _expected(probe, start)
    for row in range(_batch(probe, start)):
        case = _rows_of(probe, start, [row], f"row {row} alone")
        yield from differences(case.name, probe.run(case), take_rows(probe.outputs, expected, [row]), limits)


def _beside_others(probe: Probe, start: CheckCase) -> Iterator[Difference]:
    expected, limits = _expected(probe, start)
    kept = list(range(0, _batch(probe, start), 2))
    same = take_rows(probe.outputs, expected, kept)
    for case in _with_other_mates(probe, start, list(range(1, _batch(probe, start), 2))):
        yield from differences(case.name, probe.run(case, kept), same, limits)


def _splits(probe: Probe, cases: Sequence[CheckCase]) -> Iterator[Iterator[Difference]]:
    for start in _several(probe, cases):
        yield from (_split(probe, start, cut) for cut in sorted({1, _batch(probe, start) // 2}))


def _split(probe: Probe, start: CheckCase, cut: int) -> Iterator[Difference]:
    expected, limits = _expected(probe, start)
    batch = _batch(probe, start)
    halves = (list(range(cut)), list(range(cut, batch)))
    parts = [probe.run(_rows_of(probe, start, rows, f"rows from {rows[0]}")) for rows in halves]
    where = f"{start.case.name} as B{cut} and B{batch - cut}"
    yield from differences(where, join_rows(probe.outputs, parts), expected, limits)


def _expected(probe: Probe, start: CheckCase) -> tuple[dict[str, Array], dict[str, float]]:
    """The whole batch's outputs, and how far apart from them each may be."""
    values = probe.run(start.case)
    return values, allowed_apart(probe, start, values)


def _several(probe: Probe, cases: Sequence[CheckCase]) -> list[CheckCase]:
    """The cases of more than one row: a row that is alone would only be compared with itself."""
    return [start for start in cases if _batch(probe, start) > 1]


def _with_other_mates(probe: Probe, start: CheckCase, mates: Sequence[int]) -> Iterator[Case]:
    """The case with other sequences in the rows `mates`: loud ones, then ones of NaN."""
    contract, feeds = probe.contract, start.case.feeds
    loud = random_feeds(contract, time_of(contract, feeds), _batch(probe, start), seed=1, scale=LOUD)
    nan: dict[str, Array] = {**loud, "x": np.full_like(loud["x"], np.nan)}
    for word, others in (("loud mates", loud), ("mates of NaN", nan)):
        yield Case(name=f"{start.case.name} beside {word}", feeds=put_rows(contract.inputs, feeds, mates, others))


def _rows_of(probe: Probe, start: CheckCase, rows: Sequence[int], word: str) -> Case:
    feeds = take_rows(probe.contract.inputs, start.case.feeds, rows)
    return Case(name=f"{start.case.name} {word}", feeds=feeds)


def _batch(probe: Probe, start: CheckCase) -> int:
    return sizes_of(probe.contract, start.case.feeds)["B"]
