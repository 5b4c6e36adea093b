from pathlib import Path

import pytest
import torch
from tests.rnnx.tracing.eager_truth import assert_as_close, onnx_outputs
from tests.rnnx.tracing.small_models import sequence
from torch import Tensor, nn

import rnnx
from rnnx.engines.engine_options import EngineOptions
from rnnx.tracing.exporting import export_model


class Actor(nn.Module):
    """A policy's usual body: an LSTM, then layers with ELU between them."""

    def __init__(self, alphas: tuple[float, ...]) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8)
        self.body = nn.Sequential(*(layer for alpha in alphas for layer in (nn.Linear(8, 8), nn.ELU(alpha))))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.body(self.lstm(x)[0])
        return result


@pytest.mark.parametrize(
    ("alphas", "operators"), [((1.0, 0.5, 1.0), {"Selu": 3}), ((0.5,), {"Elu": 1})], ids=["several", "one"]
)
def test_several_elus_are_written_as_selus(
    alphas: tuple[float, ...], operators: dict[str, int], tmp_path: Path
) -> None:
    module = Actor(alphas).eval()
    report = export_model(module, (sequence(2, 4),), tmp_path / "actor.onnx")
    assert {name: count for name, count in report.nodes.items() if name in ("Elu", "Selu")} == operators
    x = 3 * sequence(3, 7)
    found = onnx_outputs(report.path, {"x": x.numpy()})
    assert_as_close([*found.values()], module, {"x": x}, "actor")


@pytest.mark.tensorrt
def test_tensorrt_rtx_builds_an_engine_of_several(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    path = tmp_path / "actor.onnx"
    export_model(Actor((1.0, 1.0, 1.0)).eval(), (torch.randn(4, 2, 5),), path)
    rnnx.build_engine(path, tmp_path / "actor.plan", EngineOptions(flavor="tensorrt-rtx"))
    assert (tmp_path / "actor.plan").stat().st_size
