"""`rnnx verify` of a whole model with its module."""

import json
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from rnnx.cli import group
from rnnx.errors import OutputError
from rnnx_runtime.errors import RnnxError

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

FACTORY = """
from torch import Tensor, nn


class Scorer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[0]


def make() -> nn.Module:
    print("building the scorer")
    return Scorer()
"""

ROWS = ("--backend", "pytorch-cpu", "--backend", "ort-cpu")


@pytest.fixture
def scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A factory in the current folder, with `best.pt` and `model.onnx`."""
    name = f"scorer_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    weights = torch.nn.GRU(5, 8).state_dict()
    torch.save({f"gru.{key}": value for key, value in weights.items()}, "best.pt")
    source = f"{name}:make"
    example = ("--input", "x:float32:B,T,5", "--checkpoint", "best.pt", "-o", "model.onnx")
    done = CliRunner().invoke(group, ["export", source, *example])
    assert done.exit_code == 0, done.output
    del sys.modules[name]
    return source


def verify(*arguments: str) -> Result:
    return CliRunner().invoke(group, ["verify", "model.onnx", *arguments])


def test_pytorch_stands_beside_the_backends(scorer: str) -> None:
    given = ("--model", scorer, "--checkpoint", "best.pt", "--matrix", "full", "--at", "B=1,T=6")
    result = verify(*given, *ROWS, "--json", "report.json")
    assert result.exit_code == 0, result.output
    assert "building the scorer" in result.stderr
    assert "building the scorer" not in result.stdout
    assert f"truth: module {scorer} with best.pt" in " ".join(result.stdout.split())
    report = json.loads(Path("report.json").read_text())
    assert report["passed"] is True
    assert report["matrix"] == "full"
    assert [row["backend"] for row in report["latency"]["rows"]] == ["pytorch-cpu", "ort-cpu"]
    assert all(row["ratio"] for row in report["latency"]["rows"])


def test_a_report_is_a_baseline_of_the_next(scorer: str) -> None:
    given = ("--model", scorer, "--checkpoint", "best.pt", "--no-latency", *ROWS)
    assert verify(*given, "--json", "report.json").exit_code == 0
    again = verify(*given, "--baseline", "report.json")
    assert again.exit_code == 0, again.output
    assert "baseline: nothing worse" in again.output


def test_the_factorys_own_weights_are_not_the_models(scorer: str) -> None:
    result = verify("--model", scorer, "--no-latency", *ROWS)
    assert isinstance(result.exception, RnnxError)
    assert result.exception.subject == f"model {scorer}"
    assert result.stdout == ""


def test_the_model_is_never_overwritten_by_a_report(scorer: str) -> None:
    before = Path("model.onnx").read_bytes()
    result = verify("--model", scorer, "--checkpoint", "best.pt", "--json", "model.onnx")
    assert isinstance(result.exception, OutputError)
    assert Path("model.onnx").read_bytes() == before


def test_bench_takes_the_module_too(scorer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnx.timing.throughput.LARGEST", {"B": 1, "T": 1})
    given = ("--model", scorer, "--checkpoint", "best.pt", "--seconds", "0.02", "--at", "B=1,T=6")
    result = CliRunner().invoke(group, ["bench", "model.onnx", *given, "--backend", "pytorch-cpu", "--json", "-"])
    assert result.exit_code == 0, result.output
    assert [row["backend"] for row in json.loads(result.stdout)["latency"]["rows"]] == ["pytorch-cpu"]
    assert "building the scorer" in result.stderr
