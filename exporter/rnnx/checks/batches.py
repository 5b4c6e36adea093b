"""A row of a batch is a sequence of its own: neither its place, nor its mates, nor their number changes its result.

`bitwise` says whether no bit changed. A backend may well compute a batch of one by another kernel than a batch of five,
adding in another order; both are then within the limit of the same truth, so that they differ by at most twice it.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rnnx.checks.differences import CheckCase, Difference, allowed_apart, conclude, differences, skipped
from rnnx.checks.probe import OF_THE_MODULE, Probe, is_module
from rnnx.parity.results import CheckName, CheckResult
from rnnx.truths.cases import Case
from rnnx.truths.counted_axes import counts_of
from rnnx.truths.rows import equally_long, put_rows, take_rows
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds


def check_batch_order(probe: Probe, cases: Sequence[CheckCase]) -> CheckResult:
    """A batch in another order gives the same rows in that order."""
    done = "the batch in reverse and shuffled"
    return _concluded(probe, "batch-order", done, (_reordered(probe, start) for start in _several(probe, cases)))


def check_batch_mates(probe: Probe, cases: Sequence[CheckCase]) -> CheckResult:
    """A row is the same alone, beside its mates, beside loud ones and beside mates of NaN."""
    done = "rows alone, beside loud mates and beside mates of NaN"
    parts = (part(probe, start) for start in _several(probe, cases) for part in (_alone, _beside_others))
    return _concluded(probe, "batch-mates", done, parts)


def check_batch_split(probe: Probe, cases: Sequence[CheckCase]) -> CheckResult:
    """A batch in two parts gives the rows of the whole."""
    return _concluded(probe, "batch-split", "the batch in two parts", _splits(probe, cases))


def _obstacle(probe: Probe) -> str:
    """Why rows cannot be told apart; empty where they can."""
    contract = probe.contract
    if contract.batching.rows != "independent":
        is_known = contract.batching.rows == "coupled"
        what = "depend on each other, in PyTorch too" if is_known else "may depend on each other"
        return f"the model's rows {what}: {contract.batching.reason}"
    if is_module(probe):
        return OF_THE_MODULE
    if "B" not in contract.free_dims or not probe.rowed:
        return "the model has no batch whose rows could be told apart"
    if contract.decoder is not None and contract.decoder.form != "step":
        return "a decoder of many steps in one graph: its rows end together"
    return ""


def _concluded(probe: Probe, check: CheckName, done: str, parts: Iterator[Iterator[Difference]]) -> CheckResult:
    reason = _obstacle(probe)
    return skipped(probe, check, reason) if reason else conclude(probe, check, done, parts)


def _reordered(probe: Probe, start: CheckCase) -> Iterator[Difference]:
    expected, limits = _expected(probe, start)
    batch = _batch(probe, start)
    for word, order in (("reversed", range(batch)[::-1]), ("shuffled", np.random.default_rng(0).permutation(batch))):
        case = _rows_of(probe, start, list(order), word)
        yield from _apart(probe, case.name, _run(probe, case), take_rows(probe.rowed, expected, list(order)), limits)


def _alone(probe: Probe, start: CheckCase) -> Iterator[Difference]:
    expected, limits = _expected(probe, start)
    for row in range(_batch(probe, start)):
        case = _rows_of(probe, start, [row], f"row {row} alone")
        yield from _apart(probe, case.name, _run(probe, case), take_rows(probe.rowed, expected, [row]), limits)


def _beside_others(probe: Probe, start: CheckCase) -> Iterator[Difference]:
    expected, limits = _expected(probe, start)
    kept = list(range(0, _batch(probe, start), 2))
    same = take_rows(probe.rowed, expected, kept)
    for case in _with_other_mates(probe, start, list(range(1, _batch(probe, start), 2))):
        yield from _apart(probe, case.name, _run(probe, case, kept), same, limits)


def _splits(probe: Probe, cases: Sequence[CheckCase]) -> Iterator[Iterator[Difference]]:
    for start in _several(probe, cases):
        yield from (_split(probe, start, cut) for cut in sorted({1, _batch(probe, start) // 2}))


def _split(probe: Probe, start: CheckCase, cut: int) -> Iterator[Difference]:
    expected, limits = _expected(probe, start)
    batch = _batch(probe, start)
    halves = (list(range(cut)), list(range(cut, batch)))
    for rows in halves:
        found = _run(probe, _rows_of(probe, start, rows, f"rows from {rows[0]}"))
        where = f"{start.case.name} as B{cut} and B{batch - cut}"
        yield from _apart(probe, where, found, take_rows(probe.rowed, expected, rows), limits)


def _apart(
    probe: Probe, where: str, values: Mapping[str, Array], expected: Mapping[str, Array], limits: Mapping[str, float]
) -> Iterator[Difference]:
    """One difference for each output, as far as both go: one may end at the longest row of its own batch."""
    pairs = {spec.name: equally_long(spec, values[spec.name], expected[spec.name]) for spec in probe.rowed}
    ours, theirs = ({name: pair[side] for name, pair in pairs.items()} for side in (0, 1))
    yield from differences(where, ours, theirs, limits)


def _expected(probe: Probe, start: CheckCase) -> tuple[dict[str, Array], dict[str, float]]:
    """The whole batch's outputs, and how far apart from them each may be."""
    values = _run(probe, start.case)
    return values, allowed_apart(probe, start, values)


def _several(probe: Probe, cases: Sequence[CheckCase]) -> list[CheckCase]:
    """The cases of more than one row: a row that is alone would only be compared with itself."""
    return [start for start in cases if _batch(probe, start) > 1]


def _with_other_mates(probe: Probe, start: CheckCase, mates: Sequence[int]) -> Iterator[Case]:
    """The case with other sequences in the rows `mates`: loud ones, then ones of NaN."""
    contract, feeds, loud = probe.contract, start.case.feeds, start.loud
    counts = counts_of(contract, feeds)  # as parts of the whole they are floats, of which none is NaN
    names = [spec.name for spec in contract.plain_inputs if spec.name not in counts]
    floats = [name for name in names if loud[name].dtype.kind == "f"]
    nan = {**loud, **{name: np.full_like(loud[name], np.nan) for name in floats}}
    for word, others in (("loud mates", loud), ("mates of NaN", nan)):
        yield Case(name=f"{start.case.name} beside {word}", feeds=put_rows(contract.inputs, feeds, mates, others))


def _run(probe: Probe, case: Case, rows: Sequence[int] | None = None) -> dict[str, Array]:
    """The outputs that have rows."""
    values = probe.run(case, rows)
    return {spec.name: values[spec.name] for spec in probe.rowed}


def _rows_of(probe: Probe, start: CheckCase, rows: Sequence[int], word: str) -> Case:
    feeds = take_rows(probe.contract.inputs, start.case.feeds, rows)
    return Case(name=f"{start.case.name} {word}", feeds=feeds)


def _batch(probe: Probe, start: CheckCase) -> int:
    return sizes_from_feeds(probe.contract.inputs, start.case.feeds).get("B", 1)
