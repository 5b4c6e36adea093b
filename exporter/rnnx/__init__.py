"""rnnx: trained PyTorch recurrent networks into production.

import rnnx

report = rnnx.export("checkpoint.safetensors", "model.onnx")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rnnx_runtime.errors import RnnxError

if TYPE_CHECKING:
    from rnnx.adopting.adopt_options import AdoptOptions
    from rnnx.adopting.adopt_report import AdoptReport
    from rnnx.adopting.adoption import adopt
    from rnnx.building.engine import EngineReport, build_engine
    from rnnx.decoders.decoder_options import DecoderOptions
    from rnnx.decoders.pair_export import Seq2SeqExportReport, export_seq2seq
    from rnnx.decoders.pair_options import Seq2SeqOptions
    from rnnx.engines.engine_options import EngineOptions
    from rnnx.exporting.exporter import export
    from rnnx.exporting.factory_export import FactoryOptions
    from rnnx.formulations.export_options import ExportOptions
    from rnnx.graphs.export_report import ExportReport
    from rnnx.inspection import inspect
    from rnnx.linting.examination import doctor
    from rnnx.linting.findings import DoctorReport, Finding
    from rnnx.modules.model_options import ModelOptions
    from rnnx.parity.parity import ParityReport
    from rnnx.reports.verification_report import VerificationReport
    from rnnx.runners.verify_options import VerifyOptions
    from rnnx.sealing.resealing import SealReport, seal
    from rnnx.timing.benchmarking import BenchOptions, bench
    from rnnx.timing.figures import BenchReport, LatencyReport
    from rnnx.verifying.verification import verify

_HOMES = {
    "AdoptOptions": "rnnx.adopting.adopt_options",
    "AdoptReport": "rnnx.adopting.adopt_report",
    "BenchOptions": "rnnx.timing.benchmarking",
    "BenchReport": "rnnx.timing.figures",
    "DecoderOptions": "rnnx.decoders.decoder_options",
    "DoctorReport": "rnnx.linting.findings",
    "EngineOptions": "rnnx.engines.engine_options",
    "EngineReport": "rnnx.building.engine",
    "ExportOptions": "rnnx.formulations.export_options",
    "ExportReport": "rnnx.graphs.export_report",
    "FactoryOptions": "rnnx.exporting.factory_export",
    "Finding": "rnnx.linting.findings",
    "LatencyReport": "rnnx.timing.figures",
    "ModelOptions": "rnnx.modules.model_options",
    "ParityReport": "rnnx.parity.parity",
    "SealReport": "rnnx.sealing.resealing",
    "Seq2SeqExportReport": "rnnx.decoders.pair_export",
    "Seq2SeqOptions": "rnnx.decoders.pair_options",
    "VerificationReport": "rnnx.reports.verification_report",
    "VerifyOptions": "rnnx.runners.verify_options",
    "adopt": "rnnx.adopting.adoption",
    "bench": "rnnx.timing.benchmarking",
    "build_engine": "rnnx.building.engine",
    "doctor": "rnnx.linting.examination",
    "export": "rnnx.exporting.exporter",
    "export_seq2seq": "rnnx.decoders.pair_export",
    "inspect": "rnnx.inspection",
    "seal": "rnnx.sealing.resealing",
    "verify": "rnnx.verifying.verification",
}
"""Public names and the modules they live in, imported on first use so that `import rnnx` stays light."""

__all__ = [
    "AdoptOptions",
    "AdoptReport",
    "BenchOptions",
    "BenchReport",
    "DecoderOptions",
    "DoctorReport",
    "EngineOptions",
    "EngineReport",
    "ExportOptions",
    "ExportReport",
    "FactoryOptions",
    "Finding",
    "LatencyReport",
    "ModelOptions",
    "ParityReport",
    "RnnxError",
    "SealReport",
    "Seq2SeqExportReport",
    "Seq2SeqOptions",
    "VerificationReport",
    "VerifyOptions",
    "adopt",
    "bench",
    "build_engine",
    "doctor",
    "export",
    "export_seq2seq",
    "inspect",
    "seal",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
