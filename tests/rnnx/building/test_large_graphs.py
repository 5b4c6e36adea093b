"""Graphs that TensorRT would build for minutes are refused before, unless they are wanted."""

from pathlib import Path

import pytest
from torch import nn

import rnnx
from rnnx import EngineOptions
from rnnx.building.engine import build_engine
from rnnx.errors import EngineError

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")


def test_a_graph_of_many_nodes_is_refused_unless_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = rnnx.export(nn.LSTMCell(4, 8), tmp_path / "model.onnx").path
    monkeypatch.setattr("rnnx.building.engine.LONGEST_BUILD_S", 0.001)
    with pytest.raises(EngineError, match=r"nodes, 0 s or more to build .*--allow-large"):
        build_engine(step, tmp_path / "model.plan")
    assert build_engine(step, tmp_path / "model.plan", EngineOptions(allow_large=True)).bytes
