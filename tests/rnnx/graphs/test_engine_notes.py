from pathlib import Path

import onnx
import pytest
import torch
from tests.rnnx.tracing.small_models import Forward, sequence

from rnnx.graphs.engine_notes import engine_notes
from rnnx.linting.examination import examine
from rnnx.linting.rules.tensorrt_operators import REFUSED
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model

OPTIONS = ModelOptions(input_names=("x",))


@pytest.mark.tensorrt
@pytest.mark.parametrize("operator", sorted({*REFUSED} - {"NonZero"}))
def test_an_operator_of_the_table_is_unknown_to_the_importer(operator: str) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    network = trt.Builder(logger).create_network(0)
    parser = trt.OnnxParser(network, logger)
    known = parser.supports_operator(operator)
    del parser  # it must go before its network
    assert not known


@pytest.mark.tensorrt
def test_a_boolean_index_is_refused_and_noted(tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    module = Forward(lambda self, x: self.lstm(x)[0][x[..., 0] > 0]).eval()
    report = export_model(module, (sequence(2, 7),), tmp_path / "rows.onnx", OPTIONS)
    assert [note.split(":")[0].split(" ")[0] for note in report.notes] == ["NonZero"]
    assert "TensorRT RTX refuses it, the size of what it gives depends on values" in report.notes[0]
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    network = trt.Builder(logger).create_network(0)
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(report.path.read_bytes())
    del parser
    assert not parsed


def test_an_ordinary_model_has_no_note(tmp_path: Path) -> None:
    module = Forward(lambda self, x: torch.relu(self.lstm(x)[0])).eval()
    report = export_model(module, (sequence(2, 7),), tmp_path / "plain.onnx", OPTIONS)
    assert report.notes == ()
    assert engine_notes(examine(onnx.load(report.path))) == ()
