"""What a command does with the stdout, the stderr, the folder and the arguments that it is given."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.rnnx.nodes import make_node
from torch import nn

import rnnx

RNNX = [sys.executable, "-c", "from rnnx.cli import main; main()"]
TEXT_COMMANDS = [["--help"], ["verify", "--tolerances"], ["inspect", "model.onnx"]]
STREAMED = [(arguments, "") for arguments in TEXT_COMMANDS] + [(["inspect", "model.onnx", "--json"], "1")]
"""What is printed by click before a command, by click, and by rich; last without a buffer."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `weights.safetensors` and `model.onnx`."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(19)
    save_file(nn.LSTM(5, 8).state_dict(), folder / "weights.safetensors")
    rnnx.export(folder / "weights.safetensors", folder / "model.onnx")
    return folder


def run(
    *arguments: str | bytes, cwd: Path, stdout: int = subprocess.PIPE, shell: str = "", **environment: str
) -> "subprocess.CompletedProcess[bytes]":
    """Run the command itself, or in a shell's line that has `"$@"` for it."""
    command = ["bash", "-c", shell, "bash", *RNNX] if shell else RNNX
    own = {**os.environ, **environment}
    return subprocess.run([*command, *arguments], cwd=cwd, stdout=stdout, stderr=subprocess.PIPE, env=own, timeout=100)


@pytest.mark.parametrize(("arguments", "unbuffered"), STREAMED, ids=["help", "text", "table", "unbuffered"])
def test_a_full_disk_behind_stdout_is_exit_code_2_with_one_line(
    arguments: list[str], unbuffered: str, folder: Path, tmp_path: Path
) -> None:
    with make_node(tmp_path / "full", minor=7).open("wb") as full:
        done = run(*arguments, cwd=folder, stdout=full.fileno(), PYTHONUNBUFFERED=unbuffered)
    assert done.stderr.decode().splitlines() == [
        "rnnx: stdout: got No space left on device, expected room for the result; free some, or send it elsewhere"
    ]
    assert done.returncode == 2


@pytest.mark.parametrize(("arguments", "unbuffered"), STREAMED, ids=["help", "text", "table", "unbuffered"])
def test_a_reader_that_left_ends_a_command_quietly_with_141(
    arguments: list[str], unbuffered: str, folder: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(*arguments, cwd=folder, stdout=writer, PYTHONUNBUFFERED=unbuffered)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_closed_stdout_is_no_error(folder: Path) -> None:
    done = run("inspect", "model.onnx", cwd=folder, shell='"$@" >&-')
    assert (done.returncode, done.stderr) == (0, b"")


def test_nothing_is_written_into_a_file_that_was_opened_in_stdouts_place(folder: Path, tmp_path: Path) -> None:
    done = run("export", str(folder / "weights.safetensors"), "-o", "m.onnx", cwd=tmp_path, shell='"$@" <&- >&- 2>&-')
    assert done.returncode == 0
    assert (tmp_path / "m.onnx").read_bytes() == (folder / "model.onnx").read_bytes()


def test_a_full_disk_behind_stderr_leaves_the_exit_code(folder: Path, tmp_path: Path) -> None:
    full = make_node(tmp_path / "full", minor=7)
    for arguments in (["inspect", "no.onnx"], ["no-command"]):
        done = run(*arguments, cwd=folder, shell=f'"$@" 2>{full}')
        assert done.returncode == 2


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-16"])
@pytest.mark.parametrize("arguments", TEXT_COMMANDS[1:], ids=" ".join)
def test_every_text_can_be_printed_in_every_encoding(arguments: list[str], encoding: str, folder: Path) -> None:
    done = run(*arguments, cwd=folder, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode(encoding)


def test_tables_are_legible_without_box_characters(folder: Path) -> None:
    text = run("inspect", "model.onnx", cwd=folder, PYTHONIOENCODING="ascii").stdout.decode("ascii")
    assert "|input         |x float32 (T, B, 5) " in text
    assert "\\u" not in text


def test_lookalikes_stand_for_what_an_encoding_lacks(folder: Path) -> None:
    plain, own = (
        run("verify", "--tolerances", cwd=folder, PYTHONIOENCODING=encoding).stdout.decode(encoding)
        for encoding in ("ascii", "utf-8")
    )
    assert "√(T·L)" in own
    assert "sqrt(T*L)" in plain
    assert "\\u" not in plain


def test_a_deleted_working_folder_is_one_line(folder: Path, tmp_path: Path) -> None:
    line = f'mkdir "{tmp_path}/gone"; cd "{tmp_path}/gone"; rmdir "{tmp_path}/gone"; "$@"'
    done = run("export", "torch.nn:Identity", "-o", "q.onnx", cwd=folder, shell=line)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[-1] == (
        "rnnx: working folder: got one that was deleted, expected one that exists; cd to another"
    )
    assert b"Traceback" not in done.stderr


def test_help_needs_no_working_folder(folder: Path, tmp_path: Path) -> None:
    line = f'mkdir "{tmp_path}/gone"; cd "{tmp_path}/gone"; rmdir "{tmp_path}/gone"; "$@"'
    assert run("--help", cwd=folder, shell=line).returncode == 0


def test_a_model_is_not_written_at_a_path_that_is_no_utf8(folder: Path, tmp_path: Path) -> None:
    weights = folder / "weights.safetensors"
    done = run("export", str(weights), "-o", b"\xff\xfe.onnx", cwd=tmp_path)
    (line,) = done.stderr.decode().splitlines()
    assert "which is no UTF-8, expected a path in UTF-8; choose another" in line
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])


def test_sources_and_models_may_have_names_that_are_no_utf8(folder: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff")
    (tmp_path / f"{name}.safetensors").write_bytes((folder / "weights.safetensors").read_bytes())
    assert run("export", f"{name}.safetensors", "-o", "m.onnx", cwd=tmp_path).returncode == 0
    (tmp_path / "m.onnx").rename(tmp_path / f"{name}.onnx")
    done = run("inspect", f"{name}.onnx", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "\\udcff.safetensors" in done.stdout.decode()
    data = run("inspect", f"{name}.onnx", "--json", cwd=tmp_path).stdout.decode()
    assert '"\\\\udcff.safetensors"' in data  # an escape in the text, and no half of a surrogate pair
