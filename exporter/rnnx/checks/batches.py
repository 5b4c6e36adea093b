"""A row of a batch is a sequence of its own: neither its place, nor its mates, nor their number changes its result.

`bitwise` says whether no bit changed. A backend may well compute a batch of one by another kernel than a batch of five,
adding in another order; both are then within the limit of the same truth, so that they differ by at most twice it.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from rnnx.cases import Array, Case, random_feeds, sizes_of, time_of
from rnnx.checks.differences import CheckCase, Difference, allowed_apart, conclude, differences
from rnnx.checks.probe import Probe
from rnnx.checks.results import CheckResult
from rnnx.checks.rows import join_rows, put_rows, take_rows

LOUD = 30.0
"""Deviation of a loud mate's `x`: its gates saturate."""


def check_batch_order(probe: Probe, cases: Sequence[CheckCase]) -> CheckResult:
    """A batch in another order gives the same rows in that order."""
    return conclude(probe, "batch-order", "the batch in reverse and shuffled", _reordered(probe, cases))


def check_batch_mates(probe: Probe, cases: Sequence[CheckCase]) -> CheckResult:
    """A row is the same alone, beside its mates, beside loud ones and beside mates of NaN."""
    done = "rows alone, beside loud mates and beside mates of NaN"
    return conclude(probe, "batch-mates", done, _beside_others(probe, cases))


def check_batch_split(probe: Probe, cases: Sequence[CheckCase]) -> CheckResult:
    """A batch in two parts gives the rows of the whole."""
    return conclude(probe, "batch-split", "the batch in two parts", _split(probe, cases))


def _reordered(probe: Probe, cases: Sequence[CheckCase]) -> Iterator[Difference]:
    for start in cases:
        expected = probe.run(start.case)
        limits = allowed_apart(probe, start, expected)
        batch = _batch(probe, start)
        for word, order in (
            ("reversed", range(batch)[::-1]),
            ("shuffled", np.random.default_rng(0).permutation(batch)),
        ):
            case = _rows_of(probe, start, list(order), word)
            yield from differences(case.name, probe.run(case), take_rows(probe.outputs, expected, list(order)), limits)


def _beside_others(probe: Probe, cases: Sequence[CheckCase]) -> Iterator[Difference]:
    for start in cases:
        expected = probe.run(start.case)
        limits = allowed_apart(probe, start, expected)
        batch = _batch(probe, start)
        for row in range(batch):
            case = _rows_of(probe, start, [row], f"row {row} alone")
            yield from differences(case.name, probe.run(case), take_rows(probe.outputs, expected, [row]), limits)
        kept = list(range(0, batch, 2))
        for case in _with_other_mates(probe, start, list(range(1, batch, 2))):
            yield from differences(case.name, probe.run(case, kept), take_rows(probe.outputs, expected, kept), limits)


def _split(probe: Probe, cases: Sequence[CheckCase]) -> Iterator[Difference]:
    for start in cases:
        expected = probe.run(start.case)
        limits = allowed_apart(probe, start, expected)
        batch = _batch(probe, start)
        for cut in dict.fromkeys((1, batch // 2)):
            halves = (range(cut), range(cut, batch))
            parts = [probe.run(_rows_of(probe, start, list(rows), f"rows from {rows[0]}")) for rows in halves]
            where = f"{start.case.name} as B{cut} and B{batch - cut}"
            yield from differences(where, join_rows(probe.outputs, parts), expected, limits)


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
