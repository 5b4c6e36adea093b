"""The importer's own view of every exported form; what it makes of broken graphs is in test_plan_compiler.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rnnx
from rnnx.engines.build_messages import BuildMessages, logger_for
from rnnx.engines.parsed_network import check_network, loop_count, parse_network
from rnnx.engines.tensorrt_library import open_library
from rnnx.errors import EngineError
from rnnx.formulations.export_options import OPSETS
from rnnx_runtime.files.model_file import OnnxFile, read_onnx

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

FORMS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], int]] = {
    "lstm": (lambda: nn.LSTM(10, 20), {}, 1),
    "lstm-2-bi-lengths": (lambda: nn.LSTM(10, 20, 2, bidirectional=True), {"lengths": True}, 2),
    "gru-3-batch-first": (lambda: nn.GRU(10, 20, 3), {"batch_first": True}, 3),
    "gru-zeros-plain": (lambda: nn.GRU(10, 20, bias=False), {"stateful": False}, 1),
    "lstm-step": (lambda: nn.LSTMCell(10, 20), {}, 0),
    "gru-step": (lambda: nn.GRUCell(10, 20), {}, 0),
    "lstm-unrolled-4": (lambda: nn.LSTMCell(10, 20), {"form": "unrolled", "steps": 4}, 0),
    "gru-unrolled-1": (lambda: nn.GRUCell(10, 20), {"form": "unrolled", "steps": 1}, 0),
}


def _parsed(model: OnnxFile) -> tuple[Any, int]:
    """A model's network, and the loops in it."""
    library, messages = open_library("tensorrt-rtx"), BuildMessages()
    logger = logger_for(library.trt, messages)
    builder = library.trt.Builder(logger)
    network = library.create_network(builder)
    parse_network(library, network, logger, model, messages)
    check_network(network, model.contract, str(model.path))
    assert messages.warnings == ()
    return network, loop_count(library.trt, network)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_and_opset_is_parsed_as_its_contract_says(tmp_path: Path, form: str, opset: int) -> None:
    module, options, loops = FORMS[form]
    torch.manual_seed(32)
    rnnx.export(module(), tmp_path / "model.onnx", rnnx.ExportOptions(opset=opset, **options))
    assert _parsed(read_onnx(tmp_path / "model.onnx"))[1] == loops


def test_weights_in_their_own_file_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnx.graphs.onnx_writer.PROTOBUF_LIMIT", 100)
    rnnx.export(nn.LSTM(10, 20), tmp_path / "model.onnx")
    model = read_onnx(tmp_path / "model.onnx")
    assert model.external_data is not None
    _parsed(model)


def test_another_models_contract_is_refused(tmp_path: Path) -> None:
    for name, width in (("model.onnx", 10), ("other.onnx", 11)):
        rnnx.export(nn.GRUCell(width, 20), tmp_path / name)
    model = read_onnx(tmp_path / "model.onnx")
    network, _ = _parsed(model)
    with pytest.raises(
        EngineError, match=r"inputs in TensorRT: got x float32 \(\?, 10\), expected x float32 \(\?, 11\)"
    ):
        check_network(network, read_onnx(tmp_path / "other.onnx").contract, "model.onnx")
