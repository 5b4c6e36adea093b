"""What `rnnx doctor` finds in a model, on its way into build-engine; real builds are in test_engine.py."""

from pathlib import Path

import pytest
from torch import nn

import rnnx
from rnnx.building.engine import build_engine
from rnnx.errors import EngineError
from rnnx.linting.findings import Finding, Severity

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")


def finding(severity: Severity, *backends: str) -> Finding:
    return Finding(rule="r", severity=severity, node=f"LSTM '{severity}'", message="m", fix="f", backends=backends)


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported LSTM step; tests leave it as it is."""
    return rnnx.export(nn.LSTMCell(4, 8), tmp_path_factory.mktemp("step") / "model.onnx").path


def test_warnings_that_concern_tensorrt_come_before_its_own(
    step: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = (
        finding("error", "ort-cpu"),
        finding("warning"),
        finding("warning", "ort-cpu"),
        finding("warning", "tensorrt-rtx"),
        finding("info"),
    )
    monkeypatch.setattr("rnnx.building.engine.examine", lambda model, folder: findings)
    assert build_engine(step, tmp_path / "model.plan").warnings == ("LSTM 'warning': m; f",) * 2


@pytest.mark.parametrize("backends", [(), ("tensorrt", "tensorrt-rtx")], ids=["every-backend", "tensorrt"])
def test_errors_that_concern_tensorrt_are_refused_before_the_build(
    step: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backends: tuple[str, ...]
) -> None:
    monkeypatch.setattr("rnnx.building.engine.examine", lambda model, folder: (finding("error", *backends),) * 3)
    monkeypatch.setattr("rnnx.building.engine.compile_plan", None)
    with pytest.raises(EngineError) as caught:
        build_engine(step, tmp_path / "model.plan")
    assert str(caught.value) == (
        f"{step}, LSTM 'error': got m (and 2 more), expected a graph that TensorRT computes as ONNX defines it; f"
    )
    assert list(tmp_path.iterdir()) == []
