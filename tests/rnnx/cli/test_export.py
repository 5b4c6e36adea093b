import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import rnnx
import rnnx_runtime
from rnnx.cli import main

SEED = 20271


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(SEED)
    save_file(nn.LSTM(3, 5, 2).state_dict(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    torch.manual_seed(SEED)
    save_file(nn.GRUCell(3, 5).state_dict(), tmp_path / "cell.safetensors")
    return tmp_path / "cell.safetensors"


def export(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["rnnx", "export", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


def test_a_checkpoint_becomes_a_model_and_a_table(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = checkpoint.with_name("model.onnx")
    assert export(monkeypatch, checkpoint, "-o", target) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].strip() == str(target)
    for fact in ("model.safetensors · (root) · nn.LSTM", "encoder, fused, opset 17", "x float32 (T, B, 3)", "2 LSTM"):
        assert fact in out
    assert "strict shape inference: passed" in out
    assert "values: equal to the truth in 4 cases in ONNX Runtime" in out
    assert err == ""
    with rnnx_runtime.load(target) as session:
        assert session.run(np.zeros((4, 2, 3), np.float32))[0].shape == (4, 2, 5)


def test_every_option_reaches_the_contract(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--batch-first", "--no-stateful", "--lengths", "--opset", 20, "--form", "encoder", "--json")
    assert export(monkeypatch, checkpoint, "-o", checkpoint.with_name("model.onnx"), *flags) == 0
    report = json.loads(capsys.readouterr().out)
    contract = report["contract"]
    (recurrence,) = contract["recurrent"]
    assert (recurrence["batch_first"], recurrence["state_inputs"], recurrence["lengths"]) == (True, False, True)
    assert contract["versions"]["opset"] == "20"
    assert report["path"] == str(checkpoint.with_name("model.onnx"))
    assert report["golden"] == str(checkpoint.with_name("model.golden.npz"))
    assert report["bytes"] == checkpoint.with_name("model.onnx").stat().st_size
    assert report["weights"] == "float32 in the source, float32 in the graph"


def test_a_module_is_chosen_and_unrolled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(nn.ModuleDict({"a": nn.LSTM(3, 5), "b": nn.GRUCell(3, 5)}).state_dict(), tmp_path / "model.pt")
    flags = ("--module", "b", "--form", "unrolled", "--steps", 3, "--json")
    assert export(monkeypatch, tmp_path / "model.pt", "-o", tmp_path / "model.onnx", *flags) == 0
    contract = json.loads(capsys.readouterr().out)["contract"]
    (recurrence,) = contract["recurrent"]
    assert (recurrence["form"], recurrence["steps"], contract["source"]["module"]) == ("unrolled", 3, "b")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(
            ("--form", "unrolled", "--steps", 0),
            "--steps: got 0, expected a whole number ≥ 1; say how many steps to unroll, such as 16",
            id="steps-0",
        ),
        pytest.param(
            ("--form", "unrolled"),
            "--steps: got none, expected a whole number ≥ 1; say how many steps to unroll, such as 16",
            id="steps-missing",
        ),
        pytest.param(
            ("--steps", 4),
            "--steps: got 4 for form step, expected none; steps belong to form unrolled",
            id="steps-with-step",
        ),
        pytest.param(
            ("--form", "encoder"),
            "--form: got encoder for nn.GRUCell, expected step or unrolled; use form step",
            id="encoder-for-a-cell",
        ),
        pytest.param(("--opset", 16), "--opset: got 16, expected 17 to 23; leave it out for 17", id="opset-16"),
        pytest.param(("--opset", 99), "--opset: got 99, expected 17 to 23; leave it out for 17", id="opset-99"),
        pytest.param(
            ("--batch-first",),
            "--batch-first: got True for form step, expected an encoder; leave it out",
            id="batch-first",
        ),
        pytest.param(
            ("--lengths",), "--lengths: got True for form step, expected an encoder; leave it out", id="lengths"
        ),
        pytest.param(
            ("--no-stateful",),
            "--stateful/--no-stateful: got False for form step, expected an encoder; leave it out",
            id="no-stateful",
        ),
        pytest.param(
            ("--module", "encoder"),
            "--module for cell.safetensors: got 'encoder', expected one of (root) (nn.GRUCell); "
            "name one as the module; rnnx inspect lists them",
            id="module-unknown",
        ),
    ],
)
def test_a_wrong_option_is_exit_code_2_and_writes_nothing(
    cell: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[object, ...],
    message: str,
) -> None:
    assert export(monkeypatch, cell, "-o", cell.with_name("model.onnx"), *flags) == 2
    assert capsys.readouterr() == ("", f"rnnx: {message}\n")
    assert list(cell.parent.iterdir()) == [cell]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((), id="nothing"),
        pytest.param(("model.pt",), id="no-output"),
        pytest.param(("model.pt", "-o", "a.onnx", "--form", "decoder"), id="form-unknown"),
        pytest.param(("model.pt", "-o", "a.onnx", "--steps", "many"), id="steps-text"),
        pytest.param(("model.pt", "-o", "a.onnx", "--quiet"), id="option-unknown"),
    ],
)
def test_a_call_that_click_refuses_is_exit_code_2(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(monkeypatch, *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage: " in err


def test_a_bug_keeps_its_traceback(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("rnnx.exporting.exporter.golden_bytes", fail)
    monkeypatch.setattr(sys, "argv", ["rnnx", "export", str(checkpoint), "-o", str(checkpoint.with_name("m.onnx"))])
    with pytest.raises(ZeroDivisionError):
        main()
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_an_interrupt_leaves_the_old_model_and_nothing_else(cell: Path) -> None:
    target = cell.with_name("model.onnx")
    rnnx.export(cell, target)
    before = {path: path.read_bytes() for path in cell.parent.iterdir()}
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job ignores it
        "from rnnx.cli import main; main()"
    )
    arguments = ("export", cell, "-o", target, "--form", "unrolled", "--steps", "400")
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not any(path.name.startswith(".model.onnx.") for path in cell.parent.iterdir()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b""
    assert {path: path.read_bytes() for path in cell.parent.iterdir()} == before


def test_a_plain_rnns_nonlinearity_is_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(nn.RNN(3, 5, nonlinearity="relu").state_dict(), tmp_path / "rnn.safetensors")
    target = tmp_path / "model.onnx"
    assert export(monkeypatch, tmp_path / "rnn.safetensors", "-o", target, "--nonlinearity", "relu") == 0
    with rnnx_runtime.load(target) as session:
        assert session.spec.layer().nonlinearity == "relu"
