import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file
from torch import nn

import rnnx
from rnnx.cli import group, main
from rnnx_runtime import BackendUnavailable, loading
from rnnx_runtime.backends import open_backend


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model, its golden file beside it, and its checkpoint `weights.safetensors`."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(19)
    save_file(nn.LSTM(5, 8).state_dict(), folder / "weights.safetensors")
    rnnx.export(folder / "weights.safetensors", folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture(autouse=True)
def _no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows on every host."""

    def without_cuda(name: Any, file: Any, threads: int) -> Any:
        if name == "ort-cuda":
            raise BackendUnavailable("backend ort-cuda", got="no GPU", expected="one", remedy="use another host")
        return open_backend(name, file, threads)

    monkeypatch.setattr(loading, "open_backend", without_cuda)


def _verify(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["verify", *map(str, arguments)], catch_exceptions=False)


def test_tables_verdict_and_footing_are_on_stdout(model: Path) -> None:
    result = _verify(model, "--checkpoint", model.with_name("weights.safetensors"), "--at", "T=5")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[-1] == "PASS: pytorch-cpu, ort-cpu compared; NOT verified: pytorch-cuda, ort-cuda"
    assert any(line.split()[:2] == ["ort-cpu", "output"] for line in lines)
    assert "skip ort-cuda: got no GPU, expected one; use another host" in lines
    assert any(
        line.startswith("truth: PyTorch in float64, weights of weights.safetensors; 7 cases: T1 B1") for line in lines
    )
    assert any(line.startswith("limit, float32: the larger of 4 × the float32 error") for line in lines)
    assert any(line.startswith("versions: rnnx") for line in lines)
    assert any("latency at T=5, B=1, 1 CPU thread" in line for line in lines)


def test_no_table_is_wider_than_a_wide_terminal(model: Path) -> None:
    result = _verify(model, "--no-latency")
    assert max(len(line.rstrip()) for line in result.stdout.splitlines() if "  " in line) <= 120


def test_a_required_backend_that_cannot_run_is_exit_code_1_with_the_table(model: Path) -> None:
    result = _verify(model, "--no-latency", "--require", "ort-cuda")
    assert result.exit_code == 1
    assert "fail ort-cuda: got no GPU" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("FAIL: ort-cpu compared; NOT verified: ")


def test_nothing_but_skips_is_exit_code_1(model: Path) -> None:
    result = _verify(model, "--no-latency", "--backend", "ort-cuda")
    assert result.exit_code == 1
    assert "no backend ran the model, so nothing was verified" in result.stdout


def test_json_holds_the_whole_report(model: Path, tmp_path: Path) -> None:
    result = _verify(model, "--no-latency", "--backend", "ort-cpu", "--json", tmp_path / "report.json")
    assert result.exit_code == 0
    data = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert data["passed"] is True
    assert [output["output"] for output in data["parity"]["rows"][0]["outputs"]] == ["output", "hn", "cn"]
    assert list(tmp_path.iterdir()) == [tmp_path / "report.json"]


@pytest.mark.parametrize("text", ["T", "T=x", "T=5;B=1"])
def test_a_malformed_shape_is_exit_code_2(model: Path, text: str) -> None:
    result = _verify(model, "--at", text)
    assert result.exit_code == 2
    assert "expected sizes such as B=1,T=50" in result.stderr


def test_a_user_error_is_one_line_and_exit_code_2(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["rnnx", "verify", str(model), "--at", "N=3"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("rnnx: latency shape: got N=3 for form encoder, expected T ≥ 1 and B ≥ 1")


def test_help_says_what_the_truth_is() -> None:
    assert "golden file" in _verify("--help").stdout
