"""What every export must pass before its files appear: ONNX's checker, rnnx doctor, and a load in ONNX Runtime."""

from pathlib import Path

from rnnx.errors import ExportError
from rnnx.examination import examine
from rnnx.extras import require
from rnnx_runtime.errors import BackendError, BackendUnavailable


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


def check_graph(path: Path) -> str:
    """Examine the written graph as `rnnx doctor` does; returns what was found.

    Raises:
        ExportError: a backend computes this graph wrongly, or refuses it.
    """
    import onnx

    findings = examine(onnx.load(path, load_external_data=False))
    if findings and findings[0].severity == "error":
        first = findings[0]
        raise ExportError(
            f"{path.name}, {first.node}",
            got=first.message,
            expected="a graph that every backend computes right",
            remedy=f"this is a defect of rnnx: report it ({first.rule})",
        )
    return f"rnnx doctor: {', '.join(f'{own.severity} {own.rule}' for own in findings) or 'nothing found'}"


def check_load(path: Path) -> str:
    """Load the model as a service would, where ONNX Runtime is installed; returns what was done.

    Raises:
        ExportError: ONNX Runtime refused the model.
    """
    from rnnx_runtime import load

    try:
        with load(path, "ort-cpu"):
            return f"loaded in ONNX Runtime {_installed_onnxruntime()}"
    except BackendUnavailable as error:
        return f"ONNX Runtime load: skipped, {error.got}; {error.remedy}"
    except BackendError as error:
        raise ExportError(error.subject, got=error.got, expected=error.expected, remedy=error.remedy) from error


def _installed_onnxruntime() -> str:
    name: str = require("onnxruntime", extra="cpu", purpose="checking the export").__version__
    return name
