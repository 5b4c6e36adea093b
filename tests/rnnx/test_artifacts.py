import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.rnnx.nodes import make_node

from rnnx.artifacts import check_targets, staged
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
        f"writing {tmp_path / 'gone' / 'model.onnx'}: got no such folder, expected a file in a folder that "
        f"exists; create it: mkdir -p {tmp_path / 'gone'}"
    )


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "got no such folder" in refusal(tmp_path / "file" / "model.onnx")


def test_a_folder_that_takes_no_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:  # root may write everywhere
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert refusal(tmp_path / "model.onnx").endswith(
        "got Permission denied, expected a writable folder with enough space; "
        "make the folder writable or choose another"
    )


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    assert "got File name too long" in refusal(tmp_path / ("n" * 300 + ".onnx"))


def test_a_folder_of_the_targets_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").mkdir()
    assert refusal(tmp_path / "model.onnx") == (
        f"writing {tmp_path / 'model.onnx'}: got a folder of that name, expected a regular file or a free name; "
        "choose another name"
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


def write(target: Path, text: str = "new") -> None:
    with staged(target) as stage:
        (stage / target.name).write_text(text)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "v3.onnx").write_text("old")
    link = tmp_path / "current.onnx"
    link.symlink_to("store/v3.onnx")
    with staged(link) as stage:
        assert stage.parent == tmp_path / "store"
        (stage / "current.onnx").write_text("new")
        (stage / "current.golden.npz").write_text("golden")
    assert link.is_symlink()
    assert contents(tmp_path / "store") == {"v3.onnx": b"new"}
    assert (tmp_path / "current.golden.npz").read_text() == "golden"


def test_a_link_to_nothing_makes_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("there")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "new"


def test_weights_lie_beside_the_model_that_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "current.onnx").symlink_to("store/v3.onnx")
    write_all(tmp_path / "current.onnx", "current.onnx", "current.onnx.data")
    assert contents(tmp_path / "store") == {"v3.onnx": b"new", "current.onnx.data": b"new"}


def test_a_link_in_place_of_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx.data").symlink_to("elsewhere")
    with pytest.raises(OutputError, match=r"model\.onnx\.data: got a link"):
        write_all(tmp_path / "model.onnx", "model.onnx", "model.onnx.data")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx.data"]


def test_a_link_may_lead_to_another_file_system(tmp_path: Path) -> None:
    with other_file_system(tmp_path) as other:
        (tmp_path / "current.onnx").symlink_to(other / "v3.onnx")
        write_all(tmp_path / "current.onnx", "current.onnx", "current.golden.npz")
        assert contents(other) == {"v3.onnx": b"new"}
        assert sorted(path.name for path in tmp_path.iterdir()) == ["current.golden.npz", "current.onnx"]


@contextlib.contextmanager
def other_file_system(here: Path) -> Iterator[Path]:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == here.stat().st_dev:
        pytest.skip("no second file system that this user may write to")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755], ids=oct)
def test_a_file_that_is_replaced_gives_its_mode(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "model.onnx"
    target.touch()
    target.chmod(mode)
    write(target)
    assert target.stat().st_mode & 0o7777 == mode


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may give files away")
def test_a_file_that_is_replaced_gives_its_owner(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    target.touch()
    os.chown(target, 1234, 2345)
    write(target)
    assert (target.stat().st_uid, target.stat().st_gid) == (1234, 2345)


def test_another_name_of_a_file_keeps_what_it_had(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("old")
    os.link(tmp_path / "kept", tmp_path / "model.onnx")
    write(tmp_path / "model.onnx")
    assert contents(tmp_path) == {"kept": b"old", "model.onnx": b"new"}


def test_a_read_only_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_text("old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert "got a read-only file, expected one that may be written; chmod u+w" in refusal(tmp_path / "model.onnx")


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device", "block device", "descriptor"])
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "model.onnx"
    if kind == "device":
        make_node(target)
    elif kind == "descriptor":
        target.symlink_to("/dev/stdout")
    else:
        make_special(target, kind)
    before = target.lstat()
    with pytest.raises(OutputError, match=f"got (a )?{kind}.*expected a regular file or a free name"):
        write(target)
    with pytest.raises(OutputError, match=f"got (a )?{kind}"):
        check_targets(target)
    assert target.lstat() == before
    assert list(tmp_path.iterdir()) == [target]


def make_special(path: Path, kind: str) -> None:
    form = {"FIFO": stat.S_IFIFO, "socket": stat.S_IFSOCK, "block device": stat.S_IFBLK}[kind]
    try:
        os.mknod(path, form | 0o600, os.makedev(7, 200))
    except OSError as error:
        pytest.skip(f"no {kind} can be made here: {error.strerror}")


def test_a_special_file_of_a_siblings_name_is_refused_before_anything_moves(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.golden.npz")
    with pytest.raises(OutputError, match=r"model\.golden\.npz: got a FIFO"):
        write_all(tmp_path / "model.onnx", "model.golden.npz", "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.golden.npz"]


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").symlink_to("b.onnx")
    (tmp_path / "b.onnx").symlink_to("a.onnx")
    with pytest.raises(OutputError, match=r"got Too many levels of symbolic links.*; repair the links"):
        write(tmp_path / "a.onnx")


def test_the_longest_name_that_a_file_may_have_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("ü" * 127)
    write(target)
    assert target.read_text() == "new"


def test_a_mounted_file_is_refused_with_nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any) -> NoReturn:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(Path, "replace", busy)
    assert "got Device or resource busy" in refusal(tmp_path / "model.onnx")


def test_targets_are_checked_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("old")
    check_targets(tmp_path / "model.onnx", tmp_path / "model.golden.npz")
    assert contents(tmp_path) == {"model.onnx": b"old"}


def test_a_target_is_no_input_however_it_is_named(tmp_path: Path) -> None:
    weights, target = tmp_path / "weights.pt", tmp_path / "model.onnx"
    weights.touch()
    target.symlink_to(weights)
    with pytest.raises(OutputError, match="got a file that is read, expected a file of its own"):
        check_targets(target, inputs=(None, weights))


def test_two_targets_do_not_share_a_file(tmp_path: Path) -> None:
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OutputError, match="got the place of a too"):
        check_targets(tmp_path / "a", tmp_path / "b")


def test_a_name_whose_siblings_is_too_long_is_refused(tmp_path: Path) -> None:
    name = "n" * 250
    with pytest.raises(OutputError, match="got File name too long"):
        check_targets(tmp_path / f"{name}.onnx", tmp_path / f"{name}.golden.npz")


@pytest.mark.parametrize("path", ["\udcff.onnx", "\udcff/model.onnx"], ids=["name", "folder"])
def test_a_path_that_is_no_utf8_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    with pytest.raises(OutputError, match="which is no UTF-8, expected a path in UTF-8") as caught:
        check_targets(tmp_path / path)
    str(caught.value).encode()


def test_an_interrupt_in_the_moment_that_the_folder_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path.mkdir

    def make(self: Path, mode: int) -> NoReturn:
        own(self, mode)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", make)
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "model.onnx"):
        pass
    with pytest.raises(KeyboardInterrupt):
        check_targets(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="Linux alone has files without a name")
def test_a_folder_is_tried_without_making_one_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(self: Path, mode: int) -> NoReturn:
        raise AssertionError("a folder was made")

    monkeypatch.setattr(Path, "mkdir", make)
    check_targets(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
