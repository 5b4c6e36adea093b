"""Reports made by hand, small and with one of everything: what passed, failed, was skipped, drifted and was timed."""

import dataclasses
import math
from typing import Any

from rnnx.diagnosis.diagnosis import Diagnosis, Location
from rnnx.linting.findings import Finding
from rnnx.parity.closeness import Closeness
from rnnx.parity.parity import CaseParity, OutputParity, ParityReport, ParityRow
from rnnx.parity.results import CheckResult, DriftCurve
from rnnx.parity.tolerances import TOLERANCES
from rnnx.reports.verification_report import VerificationReport
from rnnx.timing.figures import Estimate, LatencyReport, LatencyRow, StartUpRow
from rnnx.timing.fingerprint import Fingerprint

FLOAT32_ERROR = 2e-7
LIMIT = 1e-6
CASES = ("T1 B1", "T5 B3", "T7 B4 increasing lengths")


def closeness(error: float) -> Closeness:
    return Closeness(
        max_error=error,
        mean_error=error / 4,
        p99_error=error / 2,
        max_relative_error=error * 10,
        cosine=1 - error,
        size=120,
    )


def case(name: str, output: str, error: float = FLOAT32_ERROR, problem: str = "") -> CaseParity:
    return CaseParity(
        case=name,
        output=output,
        float32_error=FLOAT32_ERROR,
        limit=LIMIT,
        closeness=None if problem else closeness(error),
        problem=problem,
    )


def row(backend: str, results: tuple[CaseParity, ...], **others: Any) -> ParityRow:
    """A row of float32 with the outputs that its results make up."""
    names = dict.fromkeys(result.output for result in results)
    fields = {
        "device": "CPU",
        "precision": "float32",
        "status": "pass" if all(results) else "fail",
        "outputs": tuple(_output(name, [result for result in results if result.output == name]) for name in names),
    }
    return ParityRow(backend=backend, results=results, **fields | others)


def _output(name: str, own: list[CaseParity]) -> OutputParity:
    worst = max(own, key=lambda result: result.share)
    lost = any(result.problem for result in own)
    largest = math.inf if lost else max(result.closeness.max_error for result in own if result.closeness)
    return OutputParity(
        output=name,
        max_error=largest,
        mean_error=largest / 4,
        p99_error=largest / 2,
        max_relative_error=largest * 10,
        cosine=0.0 if lost else 0.999,
        float32_error=FLOAT32_ERROR,
        limit=LIMIT,
        worst_case=worst.case,
        passed=all(own),
        problem=next((result.problem for result in own if result.problem), ""),
    )


def results(error: float = FLOAT32_ERROR, cases: tuple[str, ...] = CASES) -> tuple[CaseParity, ...]:
    return tuple(case(name, output, error) for name in cases for output in ("output", "hn"))


def curve(backend: str, error: float = 4e-7, **others: Any) -> DriftCurve:
    at = (1, 10, 100, 1000)
    fields: dict[str, Any] = {
        "status": "pass",
        "precision": "float32",
        "steps": 1000,
        "at": at,
        "errors": tuple(error * step / 1000 for step in at),
        "float32_errors": (0.0, 1e-8, 5e-8, 2e-7),
        "slope_per_step": error / 1000,
        "worst_step": 1000,
        "worst_error": error,
        "limit": 2e-6,
    }
    return DriftCurve(backend=backend, **fields | others)


def estimate(value: float, within: float = 0.05) -> Estimate:
    return Estimate(value=value, low=value * (1 - within), high=value * (1 + within))


def latency_row(backend: str, p50_ms: float, ratio: float | None) -> LatencyRow:
    return LatencyRow(
        backend=backend,
        device="CPU",
        p50_ms=estimate(p50_ms),
        p90_ms=estimate(p50_ms * 1.2),
        p99_ms=estimate(p50_ms * 2),
        max_ms=p50_ms * 3,
        device_p50_ms=None,
        ratio=None if ratio is None else estimate(ratio),
        steps_per_second=50_000 / p50_ms,
        calls=400,
        rounds=20,
        warm_up_calls=40,
        stable=True,
        quantiles_ms=tuple(p50_ms * (0.9 + 0.2 * (i / 100) ** 2 + (1.9 if i == 100 else 0)) for i in range(101)),
        conditions={"threads": "1"},
    )


def latency(ort_ratio: float = 2.0) -> LatencyReport:
    return LatencyReport(
        sizes={"T": 50, "B": 1},
        threads=1,
        rows=(latency_row("pytorch-cpu", 0.8, 1.0), latency_row("ort-cpu", 0.8 / ort_ratio, ort_ratio)),
        start_up=(StartUpRow(backend="ort-cpu", import_s=0.2, load_s=0.01, first_call_ms=0.9, peak_mib=61.0),),
        notes=("tensorrt-rtx: no profile covers this shape",),
    )


def passing_report(**others: Any) -> VerificationReport:
    """Two rows at parity and one skipped, with checks, drift, latency and a warning of the doctor's."""
    fields: dict[str, Any] = {
        "model": "models/encoder.onnx",
        "model_sha256": "ab" * 32,
        "weights_sha256": "cd" * 32,
        "parity": ParityReport(
            rows=(
                row("pytorch-cpu", results()),
                row("ort-cpu", results(3e-7), uncovered=("T500 B64",)),
                ParityRow(backend="ort-cuda", status="skip", reason="backend ort-cuda: got no GPU, expected one"),
            )
        ),
        "truth": "PyTorch in float64, weights of model.safetensors",
        "yardstick": "PyTorch",
        "matrix": "quick",
        "cases": CASES,
        "tolerances": {"float32": TOLERANCES["float32"]},
        "fingerprint": Fingerprint(machine={"processor": "A CPU", "cores": "2"}, versions={"rnnx": "0.1.0"}),
        "checks": (
            CheckResult(
                backend="ort-cpu",
                check="batch-order",
                status="pass",
                detail="the batch in reverse: no bit differs",
                max_difference=0.0,
                limit=LIMIT,
                bitwise=True,
            ),
            CheckResult(backend="ort-cpu", check="padding", status="skip", detail="the model takes no lengths"),
        ),
        "drift": (curve("pytorch-cpu", 2e-7), curve("ort-cpu")),
        "findings": (
            Finding(
                rule="unreachable-state",
                severity="warning",
                node="LSTM 'encoder/lstm'",
                message="its final state is no output",
                fix="make Y_h an output",
            ),
        ),
        "latency": latency(),
        "seconds": {"truth": 0.1, "ort-cpu": 0.2, "rnnx": 0.05},
    }
    return VerificationReport(**fields | others)


def failing_report(**others: Any) -> VerificationReport:
    """A row far off and diagnosed, one without a result in a case, one that never started, a check and a drift."""
    far = tuple(dataclasses.replace(one, closeness=closeness(0.4)) if one.output == "hn" else one for one in results())
    lost = (case("T1 B1", "output", problem="3 of 24 values are NaN or Inf"), *results()[1:])
    fields: dict[str, Any] = {
        "parity": ParityReport(
            rows=(
                row("pytorch-cpu", results()),
                row("ort-cpu", far),
                row("tensorrt-rtx", lost, reason="output of case T1 B1: 3 of 24 values are NaN or Inf"),
                ParityRow(backend="tensorrt", status="fail", reason="backend tensorrt: got no engine, expected one"),
            )
        ),
        "checks": (
            CheckResult(
                backend="pytorch-cpu",
                check="batch-mates",
                status="fail",
                detail="beside mates of NaN: NaN in output, T7 B5 row 2 alone",
                max_difference=math.inf,
                limit=LIMIT,
                bitwise=False,
            ),
        ),
        "drift": (curve("pytorch-cpu", 3e-6, status="fail"), curve("ort-cuda", status="skip", reason="no GPU", at=())),
        "diagnoses": (
            Diagnosis(
                backend="ort-cpu",
                cause="gate-order",
                summary="the gates are in the wrong order: f and g have changed places in layer 0",
                remedy="reorder each weight's gate blocks",
                location=Location(output="hn", case="T5 B3", layer=0, direction="forward", gate="f", time_step=0),
                node="LSTM 'encoder/lstm'",
                evidence=("with f and g swapped back the error is 2e-07",),
            ),
        ),
    }
    return passing_report(**fields | others)
