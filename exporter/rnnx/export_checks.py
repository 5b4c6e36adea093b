"""What every export must pass before its files appear: ONNX's own checker, and a load in ONNX Runtime."""

from pathlib import Path

from rnnx.errors import ExportError
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
