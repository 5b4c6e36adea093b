import json
import sys
from pathlib import Path

import pytest

from rnnx.cli import main

FIXTURES = Path(__file__).parents[2] / "fixtures" / "torch_onnx"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["rnnx", "doctor", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


@pytest.mark.parametrize(
    ("name", "code", "verdict"),
    [
        ("gru-reset-before.dynamo", 1, "FAIL: 1 error, 1 warning, 1 info"),
        ("lstm-bi-static.dynamo", 0, "PASS: 0 errors, 2 warnings, 1 info"),
        ("lstm-bi-states.torchscript", 0, "PASS: 0 errors, 0 warnings, 0 info"),
    ],
)
def test_the_last_line_is_the_verdict_and_errors_alone_are_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, code: int, verdict: str
) -> None:
    assert run(monkeypatch, FIXTURES / f"{name}.onnx") == code
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == verdict
    assert err == ""


def test_the_frozen_time_is_shown_with_its_node_and_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, FIXTURES / "lstm-bi.dynamo.onnx")
    out = " ".join(capsys.readouterr().out.split())
    assert "1 LSTM; opset 20, written by pytorch 2.13.0+cpu" in out
    assert "1 error baked-time every backend" in out
    assert "1 Reshape 'node_Reshape_130': its shape [5, -1, 16] holds the time length 5 of the export's example" in out
    assert "fix: export it with rnnx export" in out


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.onnx")), ids=lambda path: path.stem)
def test_a_pipe_gets_lines_of_at_most_100_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: Path
) -> None:
    monkeypatch.chdir(FIXTURES)
    run(monkeypatch, path.name)
    assert max(len(line.rstrip()) for line in capsys.readouterr().out.splitlines()) <= 100


def test_a_finding_for_some_backends_names_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, FIXTURES / "lstm-bi-int8-full.quantized.onnx")
    (row,) = (line.split() for line in capsys.readouterr().out.splitlines() if "int8-saturation" in line)
    assert row == ["2", "warning", "int8-saturation", "ort-cpu"]


def test_json_is_the_whole_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, FIXTURES / "gru.dynamo.onnx", "--json") == 1
    data = json.loads(capsys.readouterr().out)
    assert (data["producer"], data["opset"], data["recurrences"]) == ("pytorch 2.13.0+cpu", 20, {"GRU": 1})
    assert [finding["rule"] for finding in data["findings"]] == ["baked-time", "states-unreachable"]
    assert set(data["findings"][0]) == {"rule", "severity", "node", "message", "fix", "backends", "others"}


@pytest.mark.parametrize("content", [None, b"no model", b""], ids=["missing", "foreign", "empty"])
def test_a_file_that_cannot_be_read_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
    assert run(monkeypatch, tmp_path / "model.onnx") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"rnnx: {tmp_path / 'model.onnx'}: got ")
    assert err.count("\n") == 1


def test_a_name_that_looks_like_markup_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "[bold]model.onnx"
    path.write_bytes((FIXTURES / "gru.torchscript.onnx").read_bytes())
    assert run(monkeypatch, path) == 0
    assert str(path) in capsys.readouterr().out


@pytest.mark.parametrize(("name", "code"), [("lstm-bi-static.dynamo", 1), ("lstm-bi-states.torchscript", 0)])
def test_strict_fails_on_warnings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    assert run(monkeypatch, FIXTURES / f"{name}.onnx", "--strict") == code
    assert capsys.readouterr().out.splitlines()[-1].startswith("FAIL" if code else "PASS")


def test_the_nodes_of_one_kind_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, FIXTURES / "lstm-bi-static.dynamo.onnx")
    out = " ".join(capsys.readouterr().out.split())
    assert "input 'input' (and 2 more): its batch length is fixed to 3" in out
    assert "also Reshape 'node_lstm__0': its shape [5, 3, 16] holds the batch length 3" in out
