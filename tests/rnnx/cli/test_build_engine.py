import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

import rnnx
from rnnx.cli import group, main
from rnnx_runtime.files.model_file import read_plan

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported one-layer GRU encoder; tests leave it as it is."""
    path = tmp_path_factory.mktemp("gru") / "model.onnx"
    torch.manual_seed(34)
    rnnx.export(nn.GRU(10, 20), path)
    return path


def _build(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["build-engine", *map(str, arguments)], catch_exceptions=False)


def _cells(output: str) -> dict[str, str]:
    """The table's rows: what stands in the first column, and the rest."""
    rows = [line.split(maxsplit=1) for line in output.splitlines() if len(line.split()) > 1]
    return {row[0]: row[1].strip() for row in rows}


def test_the_table_says_what_was_built_and_that_profiles_are_defaults(model: Path, tmp_path: Path) -> None:
    result = _build(model, "-o", tmp_path / "model.plan", "--flavor", "tensorrt-rtx")
    assert (result.exit_code, result.stderr) == (0, "")
    cells = _cells(result.stdout)
    assert cells["library"].startswith("tensorrt-rtx 1.")
    assert cells["library"].endswith(", as asked for")
    assert cells["profile"] == "B=1:8:64,T=1:64:512 (default; choose with --profile)"
    assert cells["target"] == "portable"
    assert cells["precision"] == "float32, TF32 on"
    assert cells["sidecar"] == str(tmp_path / "model.plan.json")
    assert read_plan(tmp_path / "model.plan").contract.layer().cell == "gru"


def test_every_option_reaches_the_sidecar(model: Path, tmp_path: Path) -> None:
    sizes = ["--profile", "B=1:1:1", "--profile", "T=1:50:500", "--profile", "B=8:8:8,T=1:5:9"]
    targets = ["--target-sm", "8.9", "--target-sm", "12.0"]
    others = ["--no-tf32", "--workspace-mib", "512", "--optimization-level", "1"]
    result = _build(model, "-o", tmp_path / "model.plan", *sizes, *targets, *others)
    assert result.exit_code == 0
    assert result.stdout.count("B=1:1:1,T=1:50:500") == result.stdout.count("B=8:8:8,T=1:5:9") == 1
    assert "default" not in result.stdout
    sidecar = read_plan(tmp_path / "model.plan").sidecar
    assert (sidecar.targets, sidecar.tf32, len(sidecar.profiles)) == (("8.9", "12.0"), False, 2)


def test_json_is_the_report(model: Path, tmp_path: Path) -> None:
    data = json.loads(_build(model, "-o", tmp_path / "model.plan", "--json").stdout)
    assert data["path"] == str(tmp_path / "model.plan")
    assert data["sidecar"]["profiles"] == [
        {"B": {"min": 1, "opt": 8, "max": 64}, "T": {"min": 1, "opt": 64, "max": 512}}
    ]
    assert (data["default_profiles"], data["loops"], data["warnings"]) == (True, 1, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "B=1:8"], "--profile: got 'B=1:8', expected NAME=MIN:OPT:MAX"),
        (["--profile", "B=1:8:64"], "profile 1: got no range for T"),
        (["--target-sm", "9.0"], "--target-sm: got 9.0, expected one of"),
        (["--timing-cache", "c"], "--timing-cache: got it with tensorrt-rtx"),
    ],
    ids=["malformed", "missing-dim", "target", "timing-cache"],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    command = ["rnnx", "build-engine", str(model), "-o", str(tmp_path / "model.plan"), "--flavor", "tensorrt-rtx"]
    monkeypatch.setattr(sys, "argv", [*command, *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"rnnx: {message}")
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_ends_a_long_build_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    # Long enough that it cannot be over before the interrupt, also on a fast machine: the build takes many seconds.
    rnnx.export(nn.LSTMCell(10, 20), tmp_path / "model.onnx", rnnx.ExportOptions(form="unrolled", steps=192))
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", "from rnnx.cli import main; main()", "build-engine"]
    with subprocess.Popen(
        [*command, tmp_path / "model.onnx", "-o", tmp_path / "out" / "model.plan"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not any((tmp_path / "out").iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)
        assert process.poll() is None, "the build was over before the interrupt"
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert time.monotonic() - sent < 5
    assert process.returncode == -signal.SIGINT
    assert (out, err) == ("", "rnnx: cancelled, nothing was written\n")
    assert list((tmp_path / "out").iterdir()) == []
