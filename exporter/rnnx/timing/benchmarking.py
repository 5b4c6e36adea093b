"""Timing one model in depth: latency, streaming, throughput and start-up of every backend, side by side."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rnnx.adopting.adopted_copy import own_model
from rnnx.errors import OptionError
from rnnx.progress import ProgressListener, Silence
from rnnx.runners.candidates import Candidate
from rnnx.runners.row_names import PYTORCH_ROWS, ROW_NAMES
from rnnx.runners.sources import Sources, read_subject
from rnnx.runners.subject import Subject
from rnnx.runners.verify_options import check_kind, check_names, refuse_unfit_module
from rnnx.tensorrt_network.network_row import NETWORK_ROW
from rnnx.timing.comparison import refuse_incomparable
from rnnx.timing.figures import BenchReport, JitterRow, LatencyReport, StartUpRow
from rnnx.timing.fingerprint import take_fingerprint
from rnnx.timing.inputs import timed_sizes
from rnnx.timing.jitter import STEPS, measure_jitter, single_step, why_no_stream
from rnnx.timing.module_rows import opened_inputs, opened_rows
from rnnx.timing.other_work import watch_other_work
from rnnx.timing.side_by_side import time_side_by_side
from rnnx.timing.start_up import measure_start_up, start_up_request
from rnnx.timing.throughput import measure_throughput
from rnnx.truths.model_cases import CaseSource
from rnnx_runtime.errors import BackendUnavailable

if TYPE_CHECKING:
    from torch import nn

TIMED_ROWS = tuple(name for name in ROW_NAMES if name != NETWORK_ROW)
"""The rows whose times mean something: the parsed network runs no kernel."""

_POINT_SHARE = 0.1
"""Of the seconds for latency, what one point of a throughput curve gets."""

_STREAM_SHARE, _LEAST_STREAM_S = 15, 1.0
"""Of the seconds for latency, the most that a backend's stream gets: 10,000 steps of 3 ms, if those are 2 s."""


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to time and how.

    `checkpoint` adds the rows of PyTorch, and with them ratios, `engine` the engine's row. A whole model has rows of
    PyTorch with `model`: `package.module:factory`, into which `checkpoint` is loaded, or the live module, left as it
    is. `backends` are the rows to
    run, all that apply when empty. `threads` is for the sessions and for PyTorch. `sizes` is the shape of the latency
    figures, of the dims that the model leaves free, and `seconds` about how long to time each backend there. A stream
    of `stream_steps` single steps is held against a deadline of `frame_ms`.
    """

    checkpoint: str | os.PathLike[str] | None = None
    model: "str | nn.Module | None" = None
    engine: str | os.PathLike[str] | None = None
    backends: tuple[str, ...] = ()
    threads: int = 1
    sizes: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 2.0
    frame_ms: float = 10.0
    stream_steps: int = STEPS


def bench(
    model: str | os.PathLike[str],
    options: BenchOptions | None = None,
    *,
    before: BenchReport | None = None,
    listener: ProgressListener | None = None,
) -> BenchReport:
    """Time every backend of a model that this host can run, side by side.

    Start-up comes first, each backend in processes of its own: one that crashes or hangs there is not run here.

    Args:
        model: an .onnx; another exporter's is timed as `rnnx.adopt` reads it.
        options: see `BenchOptions`.
        before: an earlier report that this one is for comparing with; refused at once where the two could not be.
        listener: is told how far the call is.

    Raises:
        CheckpointError: the checkpoint cannot be read, or is not the one this model was exported from.
        EngineError: the engine was built from another model.
        ExportError: the module is in training mode, scripted, or quantized.
        FactoryError: the factory fails, its module is not the one this model was exported from, or it brings no example
            and there is no golden file.
        GoldenError: a whole model's golden file, which says what values its inputs take, is damaged, or missing without
            its module.
        OptionError: an option does not fit the model.
        FileDamagedError, ContractError: the model or the engine is damaged or was not written by rnnx.
        AdoptionError: another exporter's file has nothing recurrent in it, or runs at no size that was tried.
        ReportError: the earlier report is another model's, or of another shape or number of threads.
        BackendUnavailable: no backend runs here; says why of each.
        BackendError: a backend failed while it was timed.
        MissingExtraError: a checkpoint was given and PyTorch is not installed.
    """
    options, listener = options or BenchOptions(), listener or Silence()
    check_kind(options, BenchOptions)
    check_names("backends", options.backends)
    _check(options)
    sources = Sources(checkpoint=_path(options.checkpoint), engine=_path(options.engine))
    with own_model(Path(model)) as own:
        subject = read_subject(own.path, sources, own.data)
        report = _benched(subject, sources, options, before, listener)
        return replace(report, model=str(model), notes=(*own.notes, *report.notes))


def _benched(
    subject: Subject, sources: Sources, options: BenchOptions, before: BenchReport | None, listener: ProgressListener
) -> BenchReport:
    rows = _rows(subject, options)
    with contextlib.ExitStack() as stack:
        inputs, live = stack.enter_context(
            opened_inputs(subject, options.model, sources.checkpoint, rows, options.threads)
        )
        sizes = timed_sizes(inputs, options.sizes)
        if before is not None:
            refuse_incomparable(before, subject.contract.source.weights_sha256, sizes, options.threads)
        own = [row for row in rows if live is not None and row in PYTORCH_ROWS]
        opened, start_up = opened_rows(live, own, stack) if live else ([], [])
        apart = [row for row in rows if row not in own]
        requests = [start_up_request(subject, sources, row, sizes, options.threads) for row in apart]
        start_up += measure_start_up(requests, listener=listener)
        names = [row.backend for row in start_up if not row.problem]
        if not (names or opened):
            raise _nothing_runs(start_up)
        stack.enter_context(_pytorch_threads(names, options.threads))
        opened += [stack.enter_context(contextlib.closing(subject.open(name, options.threads))) for name in names]
        return _report(subject, inputs, opened, sizes, tuple(start_up), options, listener)


def _check(options: BenchOptions) -> None:
    for name in options.backends:
        if name not in TIMED_ROWS:
            raise OptionError("backends", got=repr(name), expected=" | ".join(TIMED_ROWS), remedy="choose one of these")
    least: dict[str, float] = {"threads": options.threads - 1, "stream_steps": options.stream_steps - 1}
    above_0 = {"seconds": options.seconds, "frame_ms": options.frame_ms}
    for name, value in above_0.items():
        if not 0 < value < float("inf"):
            raise OptionError(name, got=f"{value:g}", expected="a time above 0", remedy="leave it out for the default")
    for name, value in least.items():
        if value < 0:
            raise OptionError(name, got=f"{value + 1:g}", expected="≥ 1", remedy="leave it out for the default")


def _rows(subject: Subject, options: BenchOptions) -> list[str]:
    """The rows to time: those named, or those that what was given is enough for."""
    need_it = {"checkpoint": options.checkpoint is not None}
    need_it |= {f"backend {row}": row in options.backends for row in PYTORCH_ROWS}
    refuse_unfit_module(subject, options.model, need_it)
    has_pytorch = subject.weights is not None or options.model is not None
    wanted = options.backends or [*subject.rows(), *PYTORCH_ROWS]
    return [row for row in TIMED_ROWS if row in wanted and (options.backends or has_pytorch or row not in PYTORCH_ROWS)]


def _report(
    subject: Subject,
    inputs: CaseSource,
    opened: Sequence[Candidate],
    sizes: Mapping[str, int],
    start_up: tuple[StartUpRow, ...],
    options: BenchOptions,
    listener: ProgressListener,
) -> BenchReport:
    latency, left_out = time_side_by_side(
        subject, inputs, opened, sizes, threads=options.threads, seconds=options.seconds, listener=listener
    )
    fingerprint = take_fingerprint(candidate.name for candidate in opened)  # while a GPU still has its working clock
    jitter, no_stream = _jitter(subject, inputs, opened, options, listener)
    seconds, other_work = options.seconds * _POINT_SHARE, watch_other_work()
    throughput, ended = measure_throughput(
        opened, inputs, sizes, seconds=seconds, covers=subject.covers, listener=listener
    )
    return BenchReport(
        model=str(subject.model.path),
        model_sha256=subject.sha256,
        weights_sha256=subject.contract.source.weights_sha256,
        latency=LatencyReport(sizes=sizes, threads=options.threads, rows=latency, start_up=start_up, notes=left_out),
        jitter=jitter,
        throughput=tuple(throughput),
        other_work=other_work(),
        fingerprint=fingerprint,
        notes=(*no_stream, *ended),
    )


def _jitter(
    subject: Subject,
    inputs: CaseSource,
    opened: Sequence[Candidate],
    options: BenchOptions,
    listener: ProgressListener,
) -> tuple[tuple[JitterRow, ...], list[str]]:
    """The rows of the backends that can stream, and why others cannot."""
    reason = why_no_stream(subject.contract)
    if reason:
        return (), [f"no streaming: {reason}"]
    single = single_step(inputs)
    covered = [candidate for candidate in opened if subject.covers(candidate.name, single)]
    rows = measure_jitter(
        covered,
        inputs,
        frame_ms=options.frame_ms,
        steps=options.stream_steps,
        seconds=max(options.seconds * _STREAM_SHARE, _LEAST_STREAM_S),
        listener=listener,
    )
    left_out = [f"{one.name}: no streaming: no profile covers one step" for one in opened if one not in covered]
    fewer = [
        f"{row.backend}: {row.steps:,} of {options.stream_steps:,} steps of a stream, in the time that --seconds allows"
        for row in rows
        if row.steps < options.stream_steps
    ]
    return tuple(rows), [*left_out, *fewer]


def _nothing_runs(rows: Sequence[StartUpRow]) -> BackendUnavailable:
    return BackendUnavailable(
        "bench",
        got="; ".join(row.problem for row in rows),
        expected="a backend that runs here",
        remedy="name another backend, or install one",
    )


def _pytorch_threads(names: Sequence[str], threads: int) -> contextlib.AbstractContextManager[None]:
    if not set(names) & set(PYTORCH_ROWS):
        return contextlib.nullcontext()
    from rnnx.truths.torch_reference import torch_threads

    return torch_threads(threads)


def _path(given: str | os.PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)
