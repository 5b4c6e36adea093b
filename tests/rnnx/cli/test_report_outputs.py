"""Where the reports of `rnnx verify` and `rnnx bench` go, with the command in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file
from tests.rnnx.nodes import make_node
from torch import nn

import rnnx
from rnnx.cli import group
from rnnx.errors import OutputError, ReportError
from rnnx_runtime.errors import RnnxError

RNNX = [sys.executable, "-c", "from rnnx.cli import main; main()"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model beside its golden file and `weights.safetensors`."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(19)
    save_file(nn.LSTM(5, 8).state_dict(), folder / "weights.safetensors")
    rnnx.export(folder / "weights.safetensors", folder / "model.onnx")
    return folder / "model.onnx"


def verify(model: Path, *arguments: str, shell: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run `rnnx verify` in a shell's line that has `"$@"` for it."""
    own = ["verify", str(model), "--no-latency", "--backend", "ort-cpu"]
    command = ["bash", "-c", shell, "bash", *RNNX, *own, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=200)


def passed(text: str) -> bool:
    report: dict[str, Any] = json.loads(text)
    return report["kind"] == "verification" and report["passed"] is True


@pytest.mark.parametrize("target", ["-", "/dev/stdout", "/dev/fd/1", "link"])
def test_stdout_holds_the_report_alone_and_stderr_the_tables(target: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc/self/fd/1")
    done = verify(model, "--json", target, shell='"$@"', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert passed(done.stdout)
    assert done.stderr.splitlines()[-1].startswith("PASS: ort-cpu compared")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]
    assert (tmp_path / "link").is_symlink()


def test_a_device_stays_a_device(model: Path, tmp_path: Path) -> None:
    null = make_node(tmp_path / "null")
    done = verify(model, "--json", "null", "--junit", "null", shell='"$@"', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert null.is_char_device()
    assert done.stdout.splitlines()[-1].startswith("PASS: ort-cpu compared")


def test_a_fifo_is_read_to_its_end(model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = verify(model, "--json", "fifo", shell='cat fifo > read & sleep 0.2; "$@" && wait', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "fifo").is_fifo()
    assert passed((tmp_path / "read").read_text())


def test_a_descriptor_of_the_shell_gets_its_report(model: Path, tmp_path: Path) -> None:
    line = '"$@" --json /dev/fd/3 3> report'
    done = verify(model, shell=line, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert passed((tmp_path / "report").read_text())
    assert done.stdout.splitlines()[-1].startswith("PASS: ort-cpu compared")


def test_the_file_that_stdout_goes_to_is_not_replaced(model: Path, tmp_path: Path) -> None:
    done = verify(model, "--json", "report", shell='"$@" > report', cwd=tmp_path)
    assert done.returncode == 2
    assert "got the file that stdout goes to, expected a file of its own; write - for stdout" in done.stderr


def test_a_full_disk_behind_the_report_on_stdout_is_exit_code_2(model: Path, tmp_path: Path) -> None:
    make_node(tmp_path / "full", minor=7)
    done = verify(model, "--json", "-", shell='"$@" > full', cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("rnnx: writing -: got No space left on device")


def test_a_reader_that_leaves_after_the_first_line_ends_it_with_141(model: Path, tmp_path: Path) -> None:
    done = verify(model, shell='set -o pipefail; "$@" | head -1', cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()) == (141, [f"PASS {model}"])
    assert done.stderr == ""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(group, [*map(str, arguments)])


@pytest.mark.parametrize("command", ["verify", "bench"])
@pytest.mark.parametrize("name", ["fifo", "socket/x", "folder", "n" * 300, "loop"])
def test_a_report_that_cannot_be_written_is_told_before_the_work(
    command: str, name: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")

    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr("rnnx.verifying.verification.verify", work)
    monkeypatch.setattr("rnnx.timing.benchmarking.bench", work)
    result = run(command, model, "--json", tmp_path / name)
    assert isinstance(result.exception, OutputError)
    assert str(result.exception).startswith(f"--json {str(tmp_path / name)[:50]}")


def test_a_bench_on_stdout_is_the_report_alone(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = rnnx.bench(model, rnnx.BenchOptions(backends=("ort-cpu",), seconds=0.01, stream_steps=10))
    monkeypatch.setattr("rnnx.timing.benchmarking.bench", lambda *_, **__: report)
    result = run("bench", model, "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["kind"] == "bench"
    assert "ort-cpu" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "weights.safetensors", "-o", "-"),
        ("build-engine", "model.onnx", "-o", "-"),
        ("build-engine", "model.onnx", "-o", "m.plan", "--timing-cache", "-"),
    ],
    ids=["export", "build-engine", "timing-cache"],
)
def test_stdout_is_no_place_for_a_model(
    arguments: tuple[str, ...], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = model.with_name(arguments[1])
    result = run(arguments[0], source, *arguments[2:])
    assert result.exit_code == 2
    assert "got -, which stands for stdout, expected a file" in result.stderr
    assert list(tmp_path.iterdir()) == []


INPUTS = {
    "inspect onnx": ("inspect", "{}.onnx"),
    "inspect plan": ("inspect", "{}.plan"),
    "inspect pt": ("inspect", "{}.pt"),
    "inspect safetensors": ("inspect", "{}.safetensors"),
    "doctor": ("doctor", "{}.onnx"),
    "export": ("export", "{}.pt", "-o", "never.onnx"),
    "export safetensors": ("export", "{}.safetensors", "-o", "never.onnx"),
    "export checkpoint": ("export", "torch.nn:Identity", "-o", "never.onnx", "--checkpoint", "{}.pt"),
    "build-engine": ("build-engine", "{}.onnx", "-o", "never.plan"),
    "verify": ("verify", "{}.onnx"),
    "verify foreign": ("verify", "{}.onnx", "--checkpoint", "weights.safetensors"),
    "verify checkpoint": ("verify", "model.onnx", "--checkpoint", "{}.pt"),
    "verify engine": ("verify", "model.onnx", "--engine", "{}.plan"),
    "verify baseline": ("verify", "model.onnx", "--baseline", "{}.json"),
    "verify golden": ("verify", "beside/model.onnx"),
    "bench": ("bench", "{}.onnx"),
    "bench checkpoint": ("bench", "model.onnx", "--checkpoint", "{}.safetensors"),
    "bench engine": ("bench", "model.onnx", "--engine", "{}.plan"),
    "bench compare": ("bench", "model.onnx", "--compare", "{}.json"),
}


@pytest.mark.parametrize("arguments", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("kind", ["fifo", "folder", "zero"])
def test_an_input_that_is_no_regular_file_is_refused_at_once(
    kind: str, arguments: tuple[str, ...], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("model.onnx", "model.golden.npz", "weights.safetensors"):
        (tmp_path / name).write_bytes(model.with_name(name).read_bytes())
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "model.onnx").write_bytes(model.read_bytes())
    suffix = next((part[2:] for part in arguments if part.startswith("{}")), "")
    make(kind, tmp_path / f"{kind}{suffix}" if suffix else tmp_path / "beside" / "model.golden.npz")
    result = run(*(part.format(kind) for part in arguments))
    assert isinstance(result.exception, RnnxError), result.output
    assert result.stdout == ""
    assert not list(tmp_path.glob("never*"))


def make(kind: str, path: Path) -> None:
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        make_node(path, minor=5)


@pytest.mark.parametrize("kind", ["fifo", "zero"])
def test_an_earlier_report_that_is_no_regular_file_is_named_as_such(kind: str, model: Path, tmp_path: Path) -> None:
    make(kind, tmp_path / "earlier.json")
    for arguments in (("verify", model, "--baseline"), ("bench", model, "--compare")):
        result = run(*arguments, tmp_path / "earlier.json")
        assert isinstance(result.exception, ReportError)
        assert ("a FIFO" if kind == "fifo" else "a device") in result.exception.got
