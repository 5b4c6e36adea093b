"""rnnx: trained PyTorch recurrent networks into production.

import rnnx

report = rnnx.export("checkpoint.safetensors", "model.onnx")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rnnx_runtime.errors import RnnxError

if TYPE_CHECKING:
    from rnnx.benchmarking import BenchOptions, bench
    from rnnx.decoders.decoder_options import DecoderOptions
    from rnnx.decoders.exporting import DecoderExportReport, export_decoder
    from rnnx.decoders.pair_export import Seq2SeqExportReport, export_seq2seq
    from rnnx.decoders.pair_options import Seq2SeqOptions
    from rnnx.engine import EngineReport, build_engine
    from rnnx.engine_options import EngineOptions
    from rnnx.examination import doctor
    from rnnx.export_options import ExportOptions
    from rnnx.exporter import ExportReport, export
    from rnnx.findings import DoctorReport, Finding
    from rnnx.inspection import inspect
    from rnnx.model_export.exporting import ModelExportReport
    from rnnx.model_options import ModelOptions
    from rnnx.parity import ParityReport
    from rnnx.timing.figures import BenchReport, LatencyReport
    from rnnx.verification import verify
    from rnnx.verification_report import VerificationReport
    from rnnx.verify_options import VerifyOptions

_HOMES = {
    "BenchOptions": "rnnx.benchmarking",
    "BenchReport": "rnnx.timing.figures",
    "DecoderExportReport": "rnnx.decoders.exporting",
    "DecoderOptions": "rnnx.decoders.decoder_options",
    "DoctorReport": "rnnx.findings",
    "EngineOptions": "rnnx.engine_options",
    "EngineReport": "rnnx.engine",
    "ExportOptions": "rnnx.export_options",
    "ExportReport": "rnnx.exporter",
    "Finding": "rnnx.findings",
    "LatencyReport": "rnnx.timing.figures",
    "ModelExportReport": "rnnx.model_export.exporting",
    "ModelOptions": "rnnx.model_options",
    "ParityReport": "rnnx.parity",
    "Seq2SeqExportReport": "rnnx.decoders.pair_export",
    "Seq2SeqOptions": "rnnx.decoders.pair_options",
    "VerificationReport": "rnnx.verification_report",
    "VerifyOptions": "rnnx.verify_options",
    "bench": "rnnx.benchmarking",
    "build_engine": "rnnx.engine",
    "doctor": "rnnx.examination",
    "export": "rnnx.exporter",
    "export_decoder": "rnnx.decoders.exporting",
    "export_seq2seq": "rnnx.decoders.pair_export",
    "inspect": "rnnx.inspection",
    "verify": "rnnx.verification",
}
"""Public names and the modules they live in, imported on first use so that `import rnnx` stays light."""

__all__ = [
    "BenchOptions",
    "BenchReport",
    "DecoderExportReport",
    "DecoderOptions",
    "DoctorReport",
    "EngineOptions",
    "EngineReport",
    "ExportOptions",
    "ExportReport",
    "Finding",
    "LatencyReport",
    "ModelExportReport",
    "ModelOptions",
    "ParityReport",
    "RnnxError",
    "Seq2SeqExportReport",
    "Seq2SeqOptions",
    "VerificationReport",
    "VerifyOptions",
    "bench",
    "build_engine",
    "doctor",
    "export",
    "export_decoder",
    "export_seq2seq",
    "inspect",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
