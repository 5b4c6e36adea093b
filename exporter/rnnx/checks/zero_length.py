"""The policy for a length of 0: it is refused, as PyTorch's packed sequences refuse it.

rnnx's sessions refuse it before a backend sees it. A file from another exporter may take it; that is well where such a
row gives zeros and hands its state on unchanged. ONNX Runtime 1.32 on CPU takes it and gives zeros for the state too,
so that a stream that pauses would start anew without a word: no file can change that, so it is told and not judged.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rnnx.checks.differences import CheckCase, Difference, allowed_apart, conclude, differences, failed, skipped
from rnnx.checks.probe import Probe
from rnnx.errors import RowDiedError
from rnnx.parity.results import CheckResult
from rnnx.parity.tolerances import tolerance_for
from rnnx.runners.foreign_model import FORMULATION
from rnnx.runners.row_names import PYTORCH_ROWS, runs_the_model
from rnnx.truths.cases import Case
from rnnx.truths.rows import take_rows
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds
from rnnx_runtime.errors import RnnxError

ROW = 0
"""The row whose length is 0."""

FIRST_STATES = {"hn": "h0", "cn": "c0"}
"""The input that a last state is equal to after no steps; zeros where the model takes none."""


def check_zero_length(probe: Probe, cases: Sequence[CheckCase]) -> CheckResult:
    """A batch in which one row has no steps at all."""
    if not probe.contract.lengths:
        return skipped(probe, "zero-length", "the model takes no lengths")
    if probe.contract.bare is None and not runs_the_model(probe.candidate.name):
        return skipped(probe, "zero-length", "what a length of 0 gives is the module's own; a session refuses it")
    start = next((case for case in cases if _is_covered(probe, case.case)), None)
    if not cases:
        return skipped(probe, "zero-length", "no case of such sizes is known")
    if start is None:
        names = ", ".join(case.case.name for case in cases)
        return skipped(probe, "zero-length", f"no profile of the engine takes a batch of these: {names}")
    case = _with_length(probe, start.case, 0)
    try:
        values = probe.candidate.outputs(case)
    except RowDiedError as error:
        return failed(probe, "zero-length", str(error))
    except RnnxError as error:
        return _refused(probe, str(error))
    except RuntimeError as error:
        if probe.candidate.name not in PYTORCH_ROWS:  # they alone refuse by one; elsewhere it is a defect
            raise
        return _refused(probe, str(error).strip().splitlines()[-1])  # above it, a traceback from another process
    return _judged(probe, start, case, values)


def _is_covered(probe: Probe, case: Case) -> bool:
    """Whether the backend takes the case and there are rows beside the one of length 0."""
    sizes = sizes_from_feeds(probe.contract.inputs, case.feeds)
    return sizes.get("B", 1) > 1 and probe.covers(sizes)


def _refused(probe: Probe, message: str) -> CheckResult:
    return CheckResult(backend=probe.candidate.name, check="zero-length", status="pass", detail=f"refused: {message}")


def _judged(probe: Probe, start: CheckCase, case: Case, values: Mapping[str, Array]) -> CheckResult:
    try:
        taken = probe.checked(case, values)
    except RnnxError as error:
        return failed(probe, "zero-length", str(error))
    if probe.contract.bare is None:
        return failed(probe, "zero-length", "taken, where a session refuses it")
    given = take_rows(probe.contract.inputs, case.feeds, [ROW])
    for name, value in take_rows(probe.outputs, taken, [ROW]).items():
        if not _is_handed_on(value, given.get(FIRST_STATES.get(name, ""), 0), probe.precision):
            expected = "zero" if name == "output" else "its first state"
            told = f"taken, but {name} of the row of length 0 is not {expected}"
            if name != "output" and probe.contract.bare.formulation == FORMULATION:
                return skipped(probe, "zero-length", f"{told}: that is the backend's doing; PyTorch refuses such a row")
            return failed(probe, "zero-length", told)
    done = "taken, with zeros and the state handed on; the rows beside it"
    return conclude(probe, "zero-length", done, [_others(probe, start, taken)])


def _is_handed_on(value: Array, given: Array | int, precision: str) -> bool:
    """Whether a value is the given one, bit for bit; in a graph of half precision, but for its rounding."""
    allowed = 2.0 ** -tolerance_for(precision).bits if precision in ("float16", "bfloat16") else 0.0
    return bool((np.abs(value - given) <= allowed * np.maximum(1, np.abs(given))).all())


def _others(probe: Probe, start: CheckCase, taken: Mapping[str, Array]) -> Iterator[Difference]:
    """The rows beside it against the same rows beside a row of length 1."""
    expected = probe.run(_with_length(probe, start.case, 1))
    limits = allowed_apart(probe, start, expected)
    rows = [row for row in range(len(start.case.feeds[probe.contract.lengths[0]])) if row != ROW]
    left, right = (take_rows(probe.outputs, values, rows) for values in (taken, expected))
    yield from differences(f"{start.case.name} beside a row of length 0", left, right, limits)


def _with_length(probe: Probe, case: Case, length: int) -> Case:
    feeds = {**case.feeds}
    for name in probe.contract.lengths:
        feeds[name] = feeds[name].copy()
        feeds[name][ROW] = length
    return Case(name=f"{case.name} with a length of {length}", feeds=feeds)
