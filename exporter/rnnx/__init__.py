"""rnnx: trained PyTorch recurrent networks into production.

import rnnx

report = rnnx.export("checkpoint.safetensors", "model.onnx")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rnnx_runtime.errors import RnnxError

if TYPE_CHECKING:
    from rnnx.exporter import ExportOptions, ExportReport, export

_HOMES = {
    "ExportOptions": "rnnx.exporter",
    "ExportReport": "rnnx.exporter",
    "export": "rnnx.exporter",
}
"""Public names and the modules they live in, imported on first use so that `import rnnx` stays light."""

__all__ = ["ExportOptions", "ExportReport", "RnnxError", "export"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
