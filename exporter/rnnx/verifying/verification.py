"""Proof that every backend computes the same: one model, the same inputs, each row against the float64 truth."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rnnx.checks.drift import WINDOWS
from rnnx.checks.plan import plan_checks
from rnnx.checks.truth_source import source_from_weights
from rnnx.linting.findings import Finding
from rnnx.parity.parity import ParityReport
from rnnx.parity.tolerances import tolerance_for
from rnnx.progress import ProgressListener, Silence, stage
from rnnx.reports.baseline import read_baseline, refuse_other_model
from rnnx.reports.regression_gate import judged_against
from rnnx.reports.verification_report import VerificationReport
from rnnx.runners.candidates import PYTORCH_ROWS
from rnnx.runners.row_channel import RowChannel
from rnnx.runners.subject import Subject, read_model_bytes, read_subject
from rnnx.runners.verify_options import MOST_TIMED_STEPS, VerifyOptions, latency_sizes, refuse_module, row_names
from rnnx.tensorrt_network.network_row import NETWORK_ROW
from rnnx.timing.figures import LatencyReport
from rnnx.timing.fingerprint import take_fingerprint
from rnnx.timing.side_by_side import time_rows
from rnnx.truths.case_matrix import matrix_cases
from rnnx.truths.golden import golden_path, read_golden
from rnnx.verifying.model_verification import verify_model
from rnnx.verifying.row_verification import Expectation, VerifiedRow, runs_apart, verify_row
from rnnx_runtime.files.model_file import checked_onnx
from rnnx_runtime.files.seal import is_sealed


def verify(
    model: str | os.PathLike[str], options: VerifyOptions | None = None, *, listener: ProgressListener | None = None
) -> VerificationReport:
    """Compare every backend's outputs and states with the float64 truth, and time the backends side by side.

    A whole model is held to its golden file, or to its module where that is given.

    Args:
        model: an .onnx that rnnx exported, or one of any exporter together with a checkpoint.
        options: see `VerifyOptions`.
        listener: is told how far the call is.

    Raises:
        CheckpointError: the checkpoint cannot be read, or is not the one this model was exported from.
        FactoryError: the factory fails, or its module is not the one this model was exported from.
        EngineError: the engine was built from another model.
        GoldenError: no checkpoint was given and the golden file is missing, damaged or another model's.
        OptionError: an option does not fit the model.
        ReportError: the baseline is damaged, of an older schema, or another model's.
        FileDamagedError, ContractError: the model or the engine is damaged or was not written by rnnx.
        MissingExtraError: a checkpoint was given and PyTorch or onnx is not installed.
    """
    start = time.perf_counter()
    options, listener = options or VerifyOptions(), listener or Silence()
    data = read_model_bytes(Path(model))
    if is_sealed(data):
        file = checked_onnx(Path(model), data)
        if file.contract.bare is None:
            return verify_model(file, options, listener)
    refuse_module(options)
    subject = read_subject(Path(model), options.sources, data)
    baseline = _baseline(subject, options)
    report = _verified(subject, options, listener, start)
    return report if baseline is None else judged_against(report, baseline, str(options.baseline))


def _verified(subject: Subject, options: VerifyOptions, listener: ProgressListener, start: float) -> VerificationReport:
    findings = _findings(subject)
    names, sizes = row_names(subject, options), latency_sizes(subject.contract, options)
    before_truth = time.perf_counter()  # importing PyTorch is the truth's too
    with _started(names) as channels, _pytorch_threads(subject, options.threads):
        expected = _expectation(subject, options, listener)
        truth_s = time.perf_counter() - before_truth
        rows = [verify_row(subject, name, expected, options, listener, channels.get(name)) for name in names]
        # Not a row that failed: how fast a wrong answer comes means nothing, and a crash here would be this process's.
        timed = [
            row.parity.backend for row in rows if row.parity.status == "pass" and row.parity.backend != NETWORK_ROW
        ]
        compared_s = time.perf_counter() - start
        latency = _latency(subject, timed, sizes, options, listener) if options.latency else None
    parity = ParityReport(rows=tuple(row.parity for row in rows))
    ran = [row.backend for row in parity.rows if row.outputs]
    return VerificationReport(
        model=str(subject.model.path),
        model_sha256=subject.sha256,
        parity=parity,
        truth=_truth_name(subject, options),
        yardstick="PyTorch" if subject.weights else "NumPy",
        matrix=options.matrix if subject.weights else "golden",
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
    """What the doctor says of the file; a golden file is compared on hosts that have no onnx package too."""
    if subject.weights is None:
        return ()
    from rnnx.linting.examination import doctor

    return doctor(subject.model.path).findings


def _shares(total_s: float, truth_s: float, rows: Sequence[VerifiedRow]) -> dict[str, float]:
    """Where the time without latency went: the truth, each backend at work, and the rest, which is rnnx's own."""
    shares = {"truth": truth_s} | {row.parity.backend: row.busy_s for row in rows if row.busy_s}
    return shares | {"rnnx": total_s - sum(shares.values())}


def _latency(
    subject: Subject, names: Sequence[str], sizes: Mapping[str, int], options: VerifyOptions, listener: ProgressListener
) -> LatencyReport:
    return time_rows(
        subject,
        names,
        sizes,
        threads=options.threads,
        seconds=options.latency_seconds,
        start_up_of=None if options.matrix == "quick" else options.sources,
        listener=listener,
    )


def _expectation(subject: Subject, options: VerifyOptions, listener: ProgressListener) -> Expectation:
    if subject.weights is None:
        truth = read_golden(golden_path(subject.model.path), subject.contract)
        return Expectation(truth=truth, plan=plan_checks(subject.layer, "quick"))
    from rnnx.truths.torch_reference import torch_truth

    own_sizes = _own_sizes(subject, options)
    found = matrix_cases(subject.layer, options.matrix, own_sizes)
    with stage(listener, "truth in float64", len(found)):
        truth = torch_truth(subject.weights, subject.layer, found, on_case=listener.part_done)
    source = source_from_weights(subject.weights, subject.layer)
    with stage(listener, "truth of a long sequence", WINDOWS):
        plan = plan_checks(subject.layer, options.matrix, source, sizes=own_sizes, on_window=listener.part_done)
    return Expectation(truth=truth, plan=plan)


def _truth_name(subject: Subject, options: VerifyOptions) -> str:
    if options.checkpoint is None:
        return f"golden file {golden_path(subject.model.path).name}, NumPy in float64"
    return f"PyTorch in float64, weights of {Path(options.checkpoint).name}"


def _own_sizes(subject: Subject, options: VerifyOptions) -> list[tuple[int, int]]:
    """(T, B) that a matrix may miss: a profile's smallest and best, what a foreign graph's inputs fix, and the shape
    that latency is measured at, for a shape that was not verified must not be timed in this process.

    A profile's largest may take float64 minutes.
    """
    profiles = subject.engine.sidecar.profiles if subject.engine else ()
    corners = [
        {dim: getattr(sizes, corner) for dim, sizes in profile.items()}
        for profile in profiles
        for corner in ("min", "opt")
    ]
    fixed = subject.foreign.fixed if subject.foreign else {}
    corners += [{"T": 5, "B": batch, **fixed} for batch in (1, 3)] if fixed else []
    steps = subject.layer.steps or 1
    timed = latency_sizes(subject.contract, options)
    corners += [timed] if options.latency and timed.get("T", steps) * timed["B"] <= MOST_TIMED_STEPS else []
    return [(sizes.get("T", steps), sizes.get("B", 1)) for sizes in corners]
