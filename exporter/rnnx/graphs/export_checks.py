"""What every written graph must pass before its files appear: ONNX's checker, and the rules of rnnx doctor once."""

from collections.abc import Sequence
from pathlib import Path

from rnnx.errors import ExportError
from rnnx.linting.examination import examine
from rnnx.linting.findings import Finding


def check_onnx(path: Path) -> str:
    """Run the full check; returns what was done. Raises ExportError where it refuses the model."""
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
