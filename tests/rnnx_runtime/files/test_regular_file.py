import errno
import gc
import io
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnx_runtime.files import regular_file
from rnnx_runtime.files.regular_file import found_at, open_regular, read_regular

needs_fifos = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
needs_devices = pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))


@pytest.mark.parametrize("content", [b"", b"\x00", b"model\r\n" * 1000])
def test_a_file_is_read_whole(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model").write_bytes(content)
    assert read_regular(tmp_path / "model", len(content)) == content


def test_a_link_is_followed_unless_it_must_not_be(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"model")
    (tmp_path / "link").symlink_to("model")
    assert read_regular(tmp_path / "link", 5) == b"model"
    with pytest.raises(OSError, match="symbolic link"), open_regular(tmp_path / "link", follow_links=False):
        pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda path: None, "No such file", id="missing"),
        pytest.param(Path.mkdir, "Is a directory", id="folder"),
        pytest.param(lambda path: os.mkfifo(path), "a FIFO, no regular file", id="fifo", marks=needs_fifos),
        pytest.param(socket_at, "No such device", id="socket", marks=needs_fifos),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), "a device, no", id="device", marks=needs_devices),
        pytest.param(lambda path: path.symlink_to(path), "symbolic links", id="link-to-itself"),
    ],
)
def test_what_is_no_readable_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may have a hundred characters
    make(tmp_path / "model")
    with pytest.raises(OSError, match=message) as caught:
        read_regular(tmp_path / "model", 100)
    assert caught.value.strerror


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "open", refuse)  # root reads every file, whatever its mode
    with pytest.raises(PermissionError):
        read_regular(tmp_path / "model", 100)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"], ids=["null", "surrogate"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match="a name that no file can have"):
        read_regular(tmp_path / name, 100)


def test_a_refused_file_is_closed(tmp_path: Path) -> None:
    descriptors = Path("/dev/fd")
    if not descriptors.is_dir():
        pytest.skip("this system does not list open files")
    gc.collect()  # what earlier tests left open closes now, not in between
    before = len(list(descriptors.iterdir()))
    for _ in range(3):
        with pytest.raises(IsADirectoryError):
            read_regular(tmp_path, 100)
    assert len(list(descriptors.iterdir())) <= before


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "model").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="1099511627776 bytes, more than the 1024 that such a file can have") as caught:
        read_regular(tmp_path / "model", 1024)
    assert caught.value.errno == errno.EFBIG


class _Shrinking(io.BufferedReader):
    """A file that another process cuts short once it was opened."""

    def read(self, size: int | None = -1, /) -> bytes:
        os.truncate(self.raw.name, 3)  # type: ignore[attr-defined] # of a FileIO
        return super().read(size)


class _TooLarge(io.BufferedReader):
    def read(self, size: int | None = -1, /) -> bytes:
        raise MemoryError


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        pytest.param(_Shrinking, "3 bytes of 5: it shrank while it was read", id="shrinks"),
        pytest.param(_TooLarge, "5 bytes, more than the free memory", id="memory"),
    ],
)
def test_a_file_that_cannot_be_read_whole_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[io.BufferedReader], message: str
) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"model")

    def opened(*arguments: Any, **options: Any) -> io.BufferedReader:
        return kind(io.FileIO(path))

    monkeypatch.setattr(regular_file, "open_regular", opened)
    with pytest.raises(OSError, match=message):
        read_regular(path, 100)


def test_what_stands_at_a_path_is_said_and_no_name_raises(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")
    places = ("file", "link", ".", "fifo", "none", "x" * 5000, "a\0b", "\ud800")
    assert [found_at(tmp_path / name) for name in places] == ["file", "file", "folder", "other", "", "", "", ""]
