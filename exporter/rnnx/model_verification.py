"""Verifying a whole model: every backend's outputs and states against PyTorch's float64 in its golden file."""

import contextlib
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rnnx.candidates import NETWORK_ROW, ROW_NAMES, Array
from rnnx.errors import MissingExtraError, OptionError, RowDiedError
from rnnx.findings import Finding
from rnnx.fingerprint import take_fingerprint
from rnnx.golden import golden_path
from rnnx.isolated_candidate import IsolatedCandidate
from rnnx.model_cases import EXAMPLE, CaseSource, drawn_case
from rnnx.model_golden import ModelTruth
from rnnx.model_subject import ModelSubject, read_model_subject
from rnnx.parity import ParityReport, ParityRow, compare
from rnnx.progress import ProgressListener, stage
from rnnx.reports.baseline import read_baseline, refuse_other_model
from rnnx.reports.regression_gate import judged_against
from rnnx.timing.figures import LatencyReport
from rnnx.timing.latency import measure_latency
from rnnx.tolerances import tolerance_for
from rnnx.truth import CaseTruth
from rnnx.verification_report import VerificationReport
from rnnx.verify_options import LATENCY_SIZES, VerifyOptions, check_options
from rnnx_runtime.dim_sizes import sizes_from_feeds
from rnnx_runtime.errors import BackendError, BackendUnavailable


def verify_model(path: Path, options: VerifyOptions, listener: ProgressListener) -> VerificationReport:
    """Verify a whole model; arguments as `rnnx.verify`.

    Raises:
        OptionError: an option that does not fit a whole model.
        GoldenError, EngineError, ReportError, FileDamagedError, ContractError: as `rnnx.verify`.
    """
    start = time.perf_counter()
    check_options(options)
    subject, truth = read_model_subject(path, options)
    sizes = _latency_sizes(subject, truth, options)
    baseline = None if options.baseline is None else read_baseline(Path(options.baseline))
    if baseline is not None:
        refuse_other_model(baseline, model_sha256=subject.sha256, weights_sha256=subject.contract.source.weights_sha256)
    wanted = {*(options.backends or subject.rows), *options.require}
    rows = [_row(subject, name, truth.entries, options, listener) for name in ROW_NAMES if name in wanted]
    compared_s = time.perf_counter() - start
    timed = [row.backend for row in rows if row.status == "pass" and row.backend != NETWORK_ROW]
    latency = _latency(subject, truth, timed, sizes, options, listener) if options.latency else None
    ran = [row for row in rows if row.outputs]
    report = VerificationReport(
        model=str(subject.model.path),
        model_sha256=subject.sha256,
        parity=ParityReport(rows=tuple(rows)),
        truth=_truth_text(path, truth),
        yardstick="PyTorch",
        matrix="golden",
        cases=tuple(entry.case.name for entry in truth.entries),
        tolerances={row.precision: tolerance_for(row.precision) for row in ran},
        fingerprint=take_fingerprint([row.backend for row in ran]),
        findings=_findings(subject),
        latency=latency,
        weights_sha256=subject.contract.source.weights_sha256,
        seconds={"all rows": compared_s},
    )
    return report if baseline is None else judged_against(report, baseline, str(options.baseline))


def _row(
    subject: ModelSubject,
    name: str,
    truth: Sequence[CaseTruth],
    options: VerifyOptions,
    listener: ProgressListener,
) -> ParityRow:
    """One row in a process of its own; a backend that is not here is skipped, or failed where it is required."""
    fits = [subject.covers(name, sizes_from_feeds(subject.contract.inputs, entry.case.feeds)) for entry in truth]
    covered = [entry for entry, fit in zip(truth, fits, strict=True) if fit]
    uncovered = tuple(entry.case.name for entry, fit in zip(truth, fits, strict=True) if not fit)
    opener = functools.partial(subject.open, name, options.threads)
    try:
        with contextlib.closing(IsolatedCandidate(opener, options.case_timeout_s)) as candidate:
            if not covered:
                raise _nothing_covered(name, len(truth))
            with stage(listener, f"{name}: cases", len(covered)):
                return compare(
                    candidate,
                    covered,
                    subject.contract,
                    subject.precision(name),
                    uncovered=uncovered,
                    on_case=listener.part_done,
                )
    except BackendUnavailable as error:
        required = name in options.require
        return ParityRow(backend=name, status="fail" if required else "skip", uncovered=uncovered, reason=str(error))
    except BackendError as error:
        # What TensorRT cannot read only matters to who means to use it; values that differ, or a crash, matter to all.
        asked = name != NETWORK_ROW or subject.engine or name in (*options.backends, *options.require)
        failed = asked or isinstance(error, RowDiedError)
        return ParityRow(backend=name, status="fail" if failed else "skip", uncovered=uncovered, reason=str(error))


def _nothing_covered(name: str, count: int) -> BackendUnavailable:
    return BackendUnavailable(
        f"backend {name}",
        got=f"{count} cases, none within the engine's profiles",
        expected="at least one",
        remedy="build the engine with a profile that holds the example's sizes",
    )


def _truth_text(path: Path, truth: ModelTruth) -> str:
    text = f"golden file {golden_path(path).name}, PyTorch in float64"
    return text + (f"; left out: {'; '.join(truth.left_out)}" if truth.left_out else "")


def _findings(subject: ModelSubject) -> tuple[Finding, ...]:
    """What the doctor says of the graph; nothing on a host that only runs models."""
    from rnnx.examination import doctor

    try:
        return doctor(subject.model.path).findings
    except (MissingExtraError, OptionError):  # no onnx package; a recurrence that the optimiser wrote out
        return ()


def _latency_sizes(subject: ModelSubject, truth: ModelTruth, options: VerifyOptions) -> dict[str, int]:
    """The shape to time: T and B as for a layer but no shorter than the example, other dims the example's.

    Raises:
        OptionError: a size that the model fixes, or one below 1.
    """
    own = sizes_from_feeds(subject.contract.inputs, _example(truth))
    for dim, size in options.sizes.items():
        if dim not in own or size < 1:
            raise OptionError(
                "latency shape",
                got=f"{dim}={size}",
                expected=" and ".join(f"{name} ≥ 1" for name in own) or "none: the model fixes every size",
                remedy="other sizes are fixed by the model",
            )
    defaults = {"T": max(LATENCY_SIZES["T"], own.get("T", 1)), "B": LATENCY_SIZES["B"]}
    return {dim: options.sizes.get(dim, defaults.get(dim, size)) for dim, size in own.items()}


def _latency(
    subject: ModelSubject,
    truth: ModelTruth,
    names: Sequence[str],
    sizes: Mapping[str, int],
    options: VerifyOptions,
    listener: ProgressListener,
) -> LatencyReport:
    """The latency of the rows that passed, in this process; what cannot be timed is a note and no error."""
    covered = [name for name in names if subject.covers(name, sizes)]
    notes = [f"{name}: no profile covers this shape" for name in names if name not in covered]
    try:
        feeds = drawn_case(CaseSource(contract=subject.contract, example=_example(truth)), sizes, seed=0).feeds
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(contextlib.closing(subject.open(name, options.threads))) for name in covered]
            rows = measure_latency(
                opened,
                feeds,
                steps=sizes.get("T", 1) * sizes.get("B", 1),
                seconds=options.latency_seconds,
                conditions={name: _conditions(subject, name, options.threads) for name in covered},
                listener=listener,
            )
    except (BackendError, BackendUnavailable, MemoryError, ValueError) as error:
        return LatencyReport(sizes=sizes, threads=options.threads, rows=(), notes=(*notes, f"not measured: {error}"))
    return LatencyReport(sizes=sizes, threads=options.threads, rows=tuple(rows), notes=tuple(notes))


def _conditions(subject: ModelSubject, name: str, threads: int) -> dict[str, str]:
    precision = subject.precision(name)
    return {"precision": precision} | ({"threads": str(threads)} if name == "ort-cpu" else {"CUDA graph": "not used"})


def _example(truth: ModelTruth) -> Mapping[str, Array]:
    return next(entry.case.feeds for entry in truth.entries if entry.case.name == EXAMPLE)
