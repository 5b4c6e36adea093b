"""Verifying a whole model: every backend's outputs and states against PyTorch's float64.

That is in the model's golden file; where its module is given it is computed anew, and PyTorch is a row too.
"""

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rnnx.errors import MissingExtraError, OptionError, RowDiedError
from rnnx.linting.findings import Finding
from rnnx.parity.parity import ParityReport, ParityRow, compare
from rnnx.parity.tolerances import tolerance_for
from rnnx.progress import ProgressListener, stage
from rnnx.reports.baseline import read_baseline, refuse_other_model
from rnnx.reports.regression_gate import judged_against
from rnnx.reports.verification_report import VerificationReport
from rnnx.runners.model_subject import ModelSubject, read_model_subject
from rnnx.runners.verify_options import LATENCY_SIZES, VerifyOptions, check_options
from rnnx.tensorrt_network.network_row import NETWORK_ROW
from rnnx.timing.figures import LatencyReport
from rnnx.timing.fingerprint import take_fingerprint
from rnnx.timing.latency import measure_latency
from rnnx.truths.golden import golden_path
from rnnx.truths.model_cases import CaseSource, drawn_case
from rnnx.truths.model_golden import ModelTruth
from rnnx.truths.truth import CaseTruth
from rnnx.verifying.model_reference import opened_reference
from rnnx.verifying.model_rows import ModelRows
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds
from rnnx_runtime.errors import BackendError, BackendUnavailable
from rnnx_runtime.files.model_file import OnnxFile

_ON_CPU = ("pytorch-cpu", "ort-cpu")


def verify_model(model: OnnxFile, options: VerifyOptions, listener: ProgressListener) -> VerificationReport:
    """Verify a whole model; arguments as `rnnx.verify`.

    Raises:
        OptionError: an option that does not fit a whole model.
        FactoryError, CheckpointError: the module cannot be made, or is not the one that was exported.
        GoldenError, EngineError, ReportError, FileDamagedError, ContractError: as `rnnx.verify`.
    """
    start = time.perf_counter()
    check_options(options)
    subject, golden = read_model_subject(model, options)
    sizes = _latency_sizes(subject, golden, options)
    baseline = None if options.baseline is None else read_baseline(Path(options.baseline))
    if baseline is not None:
        refuse_other_model(baseline, model_sha256=subject.sha256, weights_sha256=subject.contract.source.weights_sha256)
    with opened_reference(subject, golden, options) as reference:
        before_truth = time.perf_counter()
        truth = golden if reference is None else reference.truth(sizes, listener)
        truth_s = time.perf_counter() - before_truth
        own = ModelRows(subject=subject, reference=reference, options=options)
        rows = [_row(own, name, truth.entries, listener) for name in own.names]
        compared_s = time.perf_counter() - start - truth_s
        timed = [row.backend for row in rows if row.status == "pass" and row.backend != NETWORK_ROW]
        latency = _latency(own, truth, timed, sizes, listener) if options.latency else None
    ran = [row for row in rows if row.outputs]
    report = VerificationReport(
        model=str(subject.model.path),
        model_sha256=subject.sha256,
        parity=ParityReport(rows=tuple(rows)),
        truth=_truth_text(
            f"golden file {golden_path(model.path).name}" if reference is None else reference.title, truth
        ),
        yardstick="PyTorch",
        matrix="golden" if reference is None else options.matrix,
        cases=tuple(entry.case.name for entry in truth.entries),
        tolerances={row.precision: tolerance_for(row.precision) for row in ran},
        fingerprint=take_fingerprint([row.backend for row in ran]),
        findings=_findings(subject),
        latency=latency,
        weights_sha256=subject.contract.source.weights_sha256,
        seconds={"all rows": compared_s} | ({"truth": truth_s} if reference else {}),
    )
    return report if baseline is None else judged_against(report, baseline, str(options.baseline))


def _row(rows: ModelRows, name: str, truth: Sequence[CaseTruth], listener: ProgressListener) -> ParityRow:
    """One row; a backend that is not here is skipped, or failed where it is required."""
    subject, options = rows.subject, rows.options
    fits = [subject.covers(name, sizes_from_feeds(subject.contract.inputs, entry.case.feeds)) for entry in truth]
    covered = [entry for entry, fit in zip(truth, fits, strict=True) if fit]
    uncovered = tuple(entry.case.name for entry, fit in zip(truth, fits, strict=True) if not fit)
    try:
        with contextlib.closing(rows.apart(name)) as candidate:
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


def _truth_text(source: str, truth: ModelTruth) -> str:
    text = f"{source}, PyTorch in float64"
    return text + (f"; left out: {'; '.join(truth.left_out)}" if truth.left_out else "")


def _findings(subject: ModelSubject) -> tuple[Finding, ...]:
    """What the doctor says of the graph; nothing on a host that only runs models."""
    from rnnx.linting.examination import doctor

    try:
        return doctor(subject.model.path).findings
    except (MissingExtraError, OptionError):  # no onnx package; a recurrence that the optimiser wrote out
        return ()


def _latency_sizes(subject: ModelSubject, truth: ModelTruth, options: VerifyOptions) -> dict[str, int]:
    """The shape to time: T and B as for a layer but no shorter than the example, other dims the example's.

    Raises:
        OptionError: a size that the model fixes, or one below 1.
    """
    own = sizes_from_feeds(subject.contract.inputs, truth.example.case.feeds)
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
    rows: ModelRows, truth: ModelTruth, names: Sequence[str], sizes: Mapping[str, int], listener: ProgressListener
) -> LatencyReport:
    """The latency of the rows that passed, in this process; what cannot be timed is a note and no error."""
    subject, options = rows.subject, rows.options
    covered = [name for name in names if subject.covers(name, sizes)]
    notes = [f"{name}: no profile covers this shape" for name in names if name not in covered]
    try:
        feeds = drawn_case(CaseSource(contract=subject.contract, example=truth.example.case.feeds), sizes, seed=0).feeds
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(contextlib.closing(rows.here(name))) for name in covered]
            timed = measure_latency(
                opened,
                feeds,
                steps=sizes.get("T", 1) * sizes.get("B", 1),
                seconds=options.latency_seconds,
                conditions={name: _conditions(subject, name, options.threads) for name in covered},
                listener=listener,
            )
    except (BackendError, BackendUnavailable, MemoryError, ValueError) as error:
        return LatencyReport(sizes=sizes, threads=options.threads, rows=(), notes=(*notes, f"not measured: {error}"))
    return LatencyReport(sizes=sizes, threads=options.threads, rows=tuple(timed), notes=tuple(notes))


def _conditions(subject: ModelSubject, name: str, threads: int) -> dict[str, str]:
    precision = subject.precision(name)
    return {"precision": precision} | ({"threads": str(threads)} if name in _ON_CPU else {"CUDA graph": "not used"})
