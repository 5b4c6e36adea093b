"""The latency of a subject's rows at one shape, side by side."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

from rnnx.progress import ProgressListener
from rnnx.runners.candidates import Candidate
from rnnx.runners.row_names import PYTORCH_ROWS
from rnnx.runners.sources import Sources
from rnnx.runners.subject import Subject
from rnnx.timing.conditions import conditions_of
from rnnx.timing.figures import LatencyReport, LatencyRow, StartUpRow
from rnnx.timing.inputs import steps_of_call, timing_feeds
from rnnx.timing.latency import measure_latency
from rnnx.timing.start_up import measure_start_up, start_up_request
from rnnx.truths.model_cases import CaseSource
from rnnx_runtime.errors import BackendError, BackendUnavailable


def time_side_by_side(
    subject: Subject,
    inputs: CaseSource,
    opened: Sequence[Candidate],
    sizes: Mapping[str, int],
    *,
    threads: int,
    seconds: float,
    listener: ProgressListener,
) -> tuple[tuple[LatencyRow, ...], tuple[str, ...]]:
    """The rows of the backends that take inputs of these sizes, and notes on the others.

    Raises:
        BackendError: a backend failed.
        MemoryError, ValueError: there are no arrays of these sizes.
    """
    covered = [candidate for candidate in opened if subject.covers(candidate.name, sizes)]
    rows = measure_latency(
        covered,
        timing_feeds(inputs, sizes),
        steps=steps_of_call(subject.contract, sizes),
        seconds=seconds,
        conditions={one.name: conditions_of(subject, one.name, threads) for one in covered},
        listener=listener,
    )
    return tuple(rows), tuple(f"{one.name}: no profile covers this shape" for one in opened if one not in covered)


def time_rows(
    subject: Subject,
    inputs: CaseSource,
    names: Sequence[str],
    sizes: Mapping[str, int],
    *,
    opener: Callable[[str], Candidate],
    threads: int,
    seconds: float,
    start_up_of: Sources | None,
    listener: ProgressListener,
) -> LatencyReport:
    """The latency of rows that have just been verified; what cannot be timed is a note and no error.

    Start-up, which takes seconds for each row, is measured where its files are given as `start_up_of`.
    """
    rows: tuple[LatencyRow, ...] = ()
    notes: tuple[str, ...] = ()
    start_up: Sequence[StartUpRow] = ()
    if start_up_of:
        requests = [
            start_up_request(subject, start_up_of, name, sizes, threads)
            for name in names
            if not (subject.is_whole and name in PYTORCH_ROWS)  # its module cannot leave this process
        ]
        start_up = measure_start_up(requests, listener=listener)
    try:
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(contextlib.closing(opener(name))) for name in names]
            rows, notes = time_side_by_side(
                subject, inputs, opened, sizes, threads=threads, seconds=seconds, listener=listener
            )
    except (BackendError, BackendUnavailable, MemoryError, ValueError) as error:
        notes = (f"not measured: {error}",)  # NumPy has its own limits besides the host's
    return LatencyReport(sizes=sizes, threads=threads, rows=rows, start_up=tuple(start_up), notes=notes)
