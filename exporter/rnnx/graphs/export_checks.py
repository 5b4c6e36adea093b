"""What every written graph must pass before its files appear: ONNX's checker, rnnx doctor's rules, and its values."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnx.errors import ExportError
from rnnx.graphs.value_checks import check_values
from rnnx.linting.examination import examine
from rnnx.linting.findings import Finding
from rnnx.truths.golden import golden_path
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.contract import Contract


@dataclass(frozen=True, kw_only=True)
class CheckedExport:
    """A written graph that passed: what was done, what the doctor found, and the bytes of all but its golden file."""

    checks: tuple[str, ...]
    findings: tuple[Finding, ...]
    bytes: int


def checked_export(
    path: Path,
    truth: Sequence[CaseTruth],
    contract: Contract,
    *,
    remedy: str,
    any_backend: bool = False,
) -> CheckedExport:
    """Check the model at `path`, which lies in a folder of its own.

    Args:
        path: the .onnx.
        truth: the cases to run it on.
        contract: the model's.
        remedy: what to do about an error of the doctor's rules.
        any_backend: an error on one backend alone is refused, too.

    Raises:
        ExportError: a checker or ONNX Runtime refused the graph, a backend computes it wrongly, or its values differ.
    """
    valid = _check_onnx(path)
    findings = checked_findings(path, remedy=remedy, any_backend=any_backend)
    checks = (valid, findings_text(findings), check_values(path, truth, contract))
    size = sum(file.stat().st_size for file in path.parent.iterdir() if file.name != golden_path(path).name)
    return CheckedExport(checks=checks, findings=findings, bytes=size)


def _check_onnx(path: Path) -> str:
    """Run the full check; returns what was done."""
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            str(path.name), got=str(error), expected="a valid ONNX model", remedy="this is a defect of rnnx: report it"
        ) from error
    return "onnx.checker with strict shape inference: passed"


def checked_findings(path: Path, *, remedy: str, any_backend: bool) -> tuple[Finding, ...]:
    """What rnnx doctor finds in a written graph; `any_backend`: an error on one backend alone is refused, too.

    Raises:
        ExportError: a backend computes the graph wrongly, or refuses it; with the `remedy`.
    """
    import onnx

    findings = examine(onnx.load(path, load_external_data=False))
    for own in findings:
        if own.severity == "error" and (any_backend or not own.backends):
            raise ExportError(
                f"{path.name}, {own.node}",
                got=own.message,
                expected="a graph that every backend computes right",
                remedy=f"{remedy} ({own.rule})",
            )
    return findings


def findings_text(findings: Sequence[Finding]) -> str:
    """The findings as one line of a report's checks."""
    return f"rnnx doctor: {', '.join(f'{own.severity} {own.rule}' for own in findings) or 'nothing found'}"
