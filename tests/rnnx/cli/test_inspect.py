import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import rnnx
from rnnx.cli import main

MODEL = nn.ModuleDict({"encoder": nn.LSTM(7, 512, 2, bidirectional=True), "decoder": nn.GRUCell(7, 5, bias=False)})


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save({**MODEL.state_dict(), "head": torch.ones(3)}, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def inspect(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["rnnx", "inspect", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


def test_a_checkpoint_is_a_table(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect(monkeypatch, checkpoint) == 0
    out, err = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.split()}
    assert rows["module"] == ["type", "input", "hidden", "layers", "directions", "bias", "dtype", "parameters"]
    assert rows["encoder"] == ["nn.LSTM", "7", "512", "2", "2", "yes", "float32", "8,433,664"]
    assert rows["decoder"] == ["nn.GRUCell", "7", "5", "1", "1", "no", "float32", "180"]
    assert "1 other tensors" in out
    assert err == ""


def test_a_projection_shows_both_widths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(nn.LSTM(7, 5, proj_size=3).state_dict(), tmp_path / "model.pt")
    inspect(monkeypatch, tmp_path / "model.pt")
    assert " 5 (h 3) " in capsys.readouterr().out


def test_a_checkpoint_is_json_on_request(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect(monkeypatch, checkpoint, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert [(module["prefix"], module["type"]) for module in data["modules"]] == [
        ("encoder", "nn.LSTM"),
        ("decoder", "nn.GRUCell"),
    ]
    assert data["other_tensors"] == 1


def test_an_onnx_file_shows_its_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = rnnx.export(nn.GRU(7, 5), tmp_path / "model.onnx")
    assert inspect(monkeypatch, report.path) == 0
    out = capsys.readouterr().out
    assert "x float32 (T, B, 7)" in out
    assert report.contract.source.weights_sha256[:12] in out
    assert inspect(monkeypatch, report.path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["nodes"] == report.nodes


def test_a_user_error_is_one_line_on_stderr_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect(monkeypatch, tmp_path / "gone.pt") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"rnnx: {tmp_path / 'gone.pt'}: got no such file, expected a checkpoint; check the path\n"


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".onnx", ".plan"])
def test_a_name_that_no_file_can_have_is_one_line(
    suffix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect(monkeypatch, "x" * 5000 + suffix) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert len(line) < 3_000


def test_a_checkpoints_keys_cannot_speak_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = {f"\x1b]0;owned\x07\x1b[31mlstm.{key}": value for key, value in nn.LSTM(3, 4).state_dict().items()}
    torch.save(odd, tmp_path / "model.pt")
    assert inspect(monkeypatch, tmp_path / "model.pt") == 0
    out = capsys.readouterr().out
    assert r"\x1b]0;owned\x07\x1b[31mlstm" in out
    assert "\x1b" not in out
