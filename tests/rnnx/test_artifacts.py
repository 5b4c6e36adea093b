import errno
import os
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import pytest

from rnnx.artifacts import staged
from rnnx.errors import OutputError


def contents(folder: Path) -> dict[str, bytes | None]:
    return {path.name: None if path.is_dir() else path.read_bytes() for path in folder.iterdir()}


def test_files_appear_when_the_block_ends_well(tmp_path: Path) -> None:
    with staged(tmp_path / "model.onnx") as stage:
        (stage / "model.onnx").write_bytes(b"model")
        (stage / "model.golden.npz").write_bytes(b"golden")
        assert [path.name for path in tmp_path.iterdir()] == [stage.name]
        assert stage.name.startswith(".model.onnx.")
    assert contents(tmp_path) == {"model.onnx": b"model", "model.golden.npz": b"golden"}


def test_older_files_are_replaced_and_others_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"old")
    (tmp_path / "notes.txt").write_bytes(b"notes")
    with staged(tmp_path / "model.onnx") as stage:
        (stage / "model.onnx").write_bytes(b"new")
        assert (tmp_path / "model.onnx").read_bytes() == b"old"
    assert contents(tmp_path) == {"model.onnx": b"new", "notes.txt": b"notes"}


def test_the_target_moves_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    replace = Path.replace

    def remember(self: Path, target: Path) -> Path:
        moved.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", remember)
    with staged(tmp_path / "b.onnx") as stage:
        for name in ("b.onnx", "a.npz", "c.data"):
            (stage / name).write_bytes(b"")
    assert moved[-1] == "b.onnx"
    assert sorted(moved) == ["a.npz", "b.onnx", "c.data"]


def test_new_files_get_the_usual_permissions(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        with staged(tmp_path / "model.onnx") as stage:
            (stage / "model.onnx").write_bytes(b"model")
    finally:
        os.umask(umask)
    assert (tmp_path / "model.onnx").stat().st_mode & 0o777 == 0o644


def write_half(target: Path, error: BaseException) -> None:
    with staged(target) as stage:
        (stage / target.name).write_bytes(b"half")
        raise error


@pytest.mark.parametrize(
    "error", [ValueError("bug"), KeyboardInterrupt(), SystemExit(3), OSError(errno.EIO, "bad disk")], ids=repr
)
def test_whatever_ends_the_block_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "model.onnx").write_bytes(b"old")
    with pytest.raises(type(error)) as caught:
        write_half(tmp_path / "model.onnx", error)
    assert caught.value is error
    assert contents(tmp_path) == {"model.onnx": b"old"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG])
def test_a_disk_that_takes_no_more_is_a_clear_error(tmp_path: Path, code: int) -> None:
    (tmp_path / "model.onnx").write_bytes(b"old")
    with pytest.raises(OutputError) as caught:
        write_half(tmp_path / "model.onnx", OSError(code, os.strerror(code)))
    assert str(caught.value) == (
        f"writing {tmp_path / 'model.onnx'}: got {os.strerror(code)}, expected a writable folder with enough space; "
        "free some space or choose another folder"
    )
    assert contents(tmp_path) == {"model.onnx": b"old"}


def refusal(target: Path) -> str:
    before = contents(target.parent) if target.parent.is_dir() else {}
    with pytest.raises(OutputError) as caught, staged(target) as stage:
        (stage / target.name).write_bytes(b"new")
    assert (contents(target.parent) if target.parent.is_dir() else {}) == before
    return str(caught.value)


def test_a_missing_folder_says_how_to_make_it(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone" / "model.onnx") == (
        f"writing {tmp_path / 'gone' / 'model.onnx'}: got no such folder, expected a writable folder with enough "
        f"space; create it: mkdir -p {tmp_path / 'gone'}"
    )


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "got no such folder" in refusal(tmp_path / "file" / "model.onnx")


def test_a_folder_that_takes_no_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> NoReturn:  # root may write everywhere
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    assert refusal(tmp_path / "model.onnx").endswith(
        "got Permission denied, expected a writable folder with enough space; "
        "make the folder writable or choose another"
    )


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    assert "got File name too long" in refusal(tmp_path / ("n" * 300 + ".onnx"))


def test_a_folder_of_the_targets_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").mkdir()
    assert refusal(tmp_path / "model.onnx") == (
        f"writing {tmp_path / 'model.onnx'}: got a folder of that name, expected a file's name; choose another name"
    )


def write_all(target: Path, *names: str) -> None:
    with staged(target) as stage:
        for name in names:
            (stage / name).write_bytes(b"new")


def test_a_folder_of_another_files_name_is_refused_before_anything_moves(tmp_path: Path) -> None:
    (tmp_path / "b.npz").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"old")
    with pytest.raises(OutputError, match=r"b\.npz: got a folder of that name"):
        write_all(tmp_path / "model.onnx", "a.npz", "b.npz", "c.npz", "model.onnx")
    assert contents(tmp_path) == {"b.npz": None, "model.onnx": b"old"}
