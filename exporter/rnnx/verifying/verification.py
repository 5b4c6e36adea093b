"""Proof that every backend computes the same: one model, the same inputs, each row against the float64 truth."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rnnx.adopting.adopted_copy import own_model
from rnnx.errors import MissingExtraError, OptionError
from rnnx.linting.findings import Finding
from rnnx.parity.parity import ParityReport
from rnnx.parity.tolerances import tolerance_for
from rnnx.progress import ProgressListener, Silence
from rnnx.reports.baseline import read_baseline, refuse_other_model
from rnnx.reports.regression_gate import judged_against
from rnnx.reports.verification_report import VerificationReport
from rnnx.runners.candidates import Candidate
from rnnx.runners.row_channel import RowChannel
from rnnx.runners.row_names import PYTORCH_ROWS
from rnnx.runners.sources import read_subject, refuse_beside_module
from rnnx.runners.subject import Subject
from rnnx.runners.verify_options import VerifyOptions, check_kind, check_options, refuse_unfit, row_names
from rnnx.tensorrt_network.network_row import NETWORK_ROW
from rnnx.timing.figures import LatencyReport
from rnnx.timing.fingerprint import take_fingerprint
from rnnx.timing.inputs import timed_sizes
from rnnx.timing.side_by_side import time_rows
from rnnx.truths.model_cases import CaseSource
from rnnx.truths.model_golden import ModelTruth, read_model_golden
from rnnx.verifying.assumptions import assumptions
from rnnx.verifying.expectations import expectation_of, truth_title, yardstick_of
from rnnx.verifying.model_reference import ModelReference, opened_reference
from rnnx.verifying.row_verification import Expectation, VerifiedRow, runs_apart, verify_row


def verify(
    model: str | os.PathLike[str], options: VerifyOptions | None = None, *, listener: ProgressListener | None = None
) -> VerificationReport:
    """Compare every backend's outputs and states with the float64 truth, and time the backends side by side.

    A whole model is held to its golden file, or to its module where that is given.

    Args:
        model: an .onnx that rnnx exported, or one of any exporter: with a checkpoint, a layer of PyTorch's; with the
            model of rnnx that another tool made it from, held to that one's golden file; without either, what
            `rnnx.adopt` finds in it, held to ONNX Runtime on the CPU or to its module.
        options: see `VerifyOptions`.
        listener: is told how far the call is.

    Raises:
        CheckpointError: the checkpoint cannot be read, or is not the one this model was exported from.
        FactoryError: the factory fails, or its module is not the one this model was exported from.
        EngineError: the engine was built from another model.
        GoldenError: a layer without a checkpoint, or a whole model, has no golden file, or a damaged or another's.
        ExportError: the module is in training mode, scripted, or quantized.
        OptionError: an option does not fit the model.
        ReportError: the baseline is damaged, of an older schema, or another model's.
        FileDamagedError, ContractError: the model or the engine is damaged or was not written by rnnx.
        AdoptionError: another exporter's file has nothing recurrent in it, or runs at no size that was tried.
        MissingExtraError: a checkpoint was given and PyTorch or onnx is not installed.
    """
    start = time.perf_counter()
    options, listener = options or VerifyOptions(), listener or Silence()
    check_kind(options, VerifyOptions)
    check_options(options)
    path = Path(model)
    if options.model is not None and options.like is None:
        refuse_beside_module(options.sources)
    if options.like is not None or (options.model is None and options.sources.says_what_the_file_is):
        return _verify(path, None, options, listener, start)
    with own_model(path) as own:
        report = _verify(own.path, own.data, options, listener, start)
    return report if own.path == path else replace(report, model=str(path), truth=f"{report.truth}; {own.notes[0]}")


def _verify(
    path: Path, data: bytes | None, options: VerifyOptions, listener: ProgressListener, start: float
) -> VerificationReport:
    subject = read_subject(path, options.sources, data)
    refuse_unfit(subject, options)
    golden = read_model_golden(subject.golden, subject.contract) if subject.is_whole else None
    example = golden.example.case.feeds if golden else {}
    timed = timed_sizes(CaseSource(contract=subject.contract, example=example), options.sizes)
    baseline = _baseline(subject, options)
    with opened_reference(subject, golden, options) as reference:
        report = _verified(subject, golden, reference, options, timed, listener, start)
    return report if baseline is None else judged_against(report, baseline, str(options.baseline))


def _verified(
    subject: Subject,
    golden: ModelTruth | None,
    reference: ModelReference | None,
    options: VerifyOptions,
    sizes: Mapping[str, int],
    listener: ProgressListener,
    start: float,
) -> VerificationReport:
    findings = _findings(subject)
    names = row_names(subject, options, has_module=reference is not None)
    before_truth = time.perf_counter()  # importing PyTorch is the truth's too
    with _started(names) as channels, _pytorch_threads(subject, options.threads):
        expected = expectation_of(subject, golden, reference, options, sizes, listener)
        truth_s = time.perf_counter() - before_truth
        rows = [verify_row(subject, name, expected, options, listener, channels.get(name), reference) for name in names]
        # Not a row that failed: how fast a wrong answer comes means nothing, and a crash here would be this process's.
        timed = [
            row.parity.backend for row in rows if row.parity.status == "pass" and row.parity.backend != NETWORK_ROW
        ]
        compared_s = time.perf_counter() - start
        latency = _latency(subject, reference, expected, timed, sizes, options, listener) if options.latency else None
    parity = ParityReport(rows=tuple(row.parity for row in rows))
    ran = [row.backend for row in parity.rows if row.outputs]
    has_weights = subject.weights is not None or reference is not None
    left_out = f"; left out: {'; '.join(expected.left_out)}" if expected.left_out else ""
    return VerificationReport(
        model=str(subject.model.path),
        model_sha256=subject.sha256,
        parity=parity,
        truth=truth_title(subject, reference, options) + left_out,
        yardstick=yardstick_of(subject, has_weights=has_weights),
        matrix=options.matrix if has_weights else "golden",
        cases=tuple(entry.case.name for entry in expected.truth),
        tolerances={row.precision: tolerance_for(row.precision) for row in parity.rows if row.outputs},
        fingerprint=take_fingerprint(ran),
        checks=tuple(check for row in rows for check in row.checks),
        drift=tuple(curve for row in rows for curve in row.drift),
        diagnoses=tuple(row.diagnosis for row in rows if row.diagnosis),
        findings=findings,
        latency=latency,
        not_compared=subject.foreign.unmapped if subject.foreign else (),
        weights_sha256=subject.contract.source.weights_sha256,
        seconds=_shares(compared_s, truth_s, rows),
    )


@contextlib.contextmanager
def _started(names: Sequence[str]) -> Iterator[dict[str, RowChannel]]:
    """A process for each row that runs apart, starting while the truth is computed; all are ended with the block."""
    with contextlib.ExitStack() as stack:
        channels = {name: RowChannel() for name in names if runs_apart(name) and name not in PYTORCH_ROWS}
        for channel in channels.values():
            stack.callback(channel.end)
        yield channels


def _baseline(subject: Subject, options: VerifyOptions) -> VerificationReport | None:
    """The earlier report, refused before anything runs."""
    if options.baseline is None:
        return None
    baseline = read_baseline(Path(options.baseline))
    refuse_other_model(baseline, model_sha256=subject.sha256, weights_sha256=subject.contract.source.weights_sha256)
    return baseline


def _pytorch_threads(subject: Subject, threads: int) -> contextlib.AbstractContextManager[None]:
    if subject.weights is None:
        return contextlib.nullcontext()
    from rnnx.truths.torch_reference import torch_threads

    return torch_threads(threads)


def _findings(subject: Subject) -> tuple[Finding, ...]:
    """What was taken for granted of the file, and what the doctor says of it."""
    return (*assumptions(subject), *_doctors(subject))


def _doctors(subject: Subject) -> tuple[Finding, ...]:
    """What the doctor says of the file; a golden file is compared on hosts that have no onnx package too."""
    if subject.weights is None and not subject.is_whole and subject.like is None:
        return ()
    from rnnx.linting.examination import doctor

    try:
        return doctor(subject.model.path).findings
    except (MissingExtraError, OptionError):  # no onnx package; a recurrence that the optimiser wrote out
        if subject.is_whole or subject.like is not None:
            return ()
        raise


def _shares(total_s: float, truth_s: float, rows: Sequence[VerifiedRow]) -> dict[str, float]:
    """Where the time without latency went: the truth, each backend at work, and the rest, which is rnnx's own."""
    shares = {"truth": truth_s} | {row.parity.backend: row.busy_s for row in rows if row.busy_s}
    return shares | {"rnnx": total_s - sum(shares.values())}


def _latency(
    subject: Subject,
    reference: ModelReference | None,
    expected: Expectation,
    names: Sequence[str],
    sizes: Mapping[str, int],
    options: VerifyOptions,
    listener: ProgressListener,
) -> LatencyReport:
    """The latency of the rows that passed, in this process."""

    def opened(name: str) -> Candidate:
        own = reference if name in PYTORCH_ROWS else None
        return own.live.candidate(name) if own else subject.open(name, options.threads)

    return time_rows(
        subject,
        expected.inputs,
        names,
        sizes,
        opener=opened,
        threads=options.threads,
        seconds=options.latency_seconds,
        start_up_of=None if options.matrix == "quick" else options.sources,
        listener=listener,
    )
