"""Writing artefacts so that a reader sees all of them whole or none: staged in a hidden folder, then renamed."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from rnnx.errors import OutputError
from rnnx.outputs.output_places import file_place

_DATA = ".data"
"""What the name of weights outside a model ends in; they are sought beside the model's own file, links followed."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)

_LONGEST_STEM = 40
"""Characters of the target's name in its hidden folder's, which would else be too long for a name that is not."""


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A hidden folder beside `target`; its files move next to `target` when the block ends well, `target` last.

    Whatever ends the block early, an interrupt included, leaves nothing behind and every older file as it was. Each
    move is whole or not done, but two moves are not one: an end between them leaves a new file beside an old one, which
    the SHA-256 that one of the two holds of the other then gives away. A file that is replaced gives its successor its
    mode, and its owner where that is permitted; other names of it (hard links) keep the old content. A link stays, and
    what it leads to is replaced.

    Raises:
        OutputError: the folder is missing or not writable, something else than a regular file has a file's name, the
            old file is read-only, or the disk is full.
    """
    stage = _stage_name(target, _folder_of(target, file_place(target)))
    try:
        _make(stage, target)
        yield stage
        files = sorted(stage.iterdir(), key=lambda path: path.name == target.name)
        _move({path: _place_in(target, path.name) for path in files}, target)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise _refused(target, error.strerror or str(error), "free some space or choose another folder") from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def check_targets(*targets: Path, inputs: Iterable[Path | None] = ()) -> None:
    """Find out before long work what would keep `staged` from writing models, or what they would overwrite.

    Raises:
        OutputError: as `staged`; also for a path that leads to one of the `inputs` or of the other targets, or one that
            is no UTF-8, which no engine and no checker of ONNX reads.
    """
    taken = {os.path.realpath(path): "a file that is read" for path in inputs if path is not None}
    writable = set()
    for target in targets:
        place = file_place(target)
        got = taken.get(str(place))
        if got:
            raise OutputError(f"writing {target}", got=got, expected="a file of its own", remedy="choose another name")
        taken[str(place)] = f"the place of {target.name} too"
        folder = _folder_of(target, place)
        _check_utf8(target, folder)
        if folder not in writable:
            _check_folder(target, folder)
            writable.add(folder)


def check_place(target: Path) -> None:
    """Find out whether `staged` can write a file at `target`; raises OutputError as that does."""
    _check_folder(target, _folder_of(target, file_place(target)))


def _check_folder(target: Path, folder: Path) -> None:
    if _takes_nameless(folder):
        return
    stage = _stage_name(target, folder)
    try:
        _make(stage, target)
    finally:
        with contextlib.suppress(OSError):
            stage.rmdir()


def _takes_nameless(folder: Path) -> bool:
    """Whether a file without a name can be made in a folder, which needs what a named one needs, and costs far less.

    False too where the system knows no such files: https://man7.org/linux/man-pages/man2/open.2.html, O_TMPFILE.
    """
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except (OSError, AttributeError):
        return False
    return True


def _folder_of(target: Path, place: Path) -> Path:
    """Where to stage: beside what a link leads to, its place, else in the folder as it was named."""
    return place.parent if target.is_symlink() else target.parent


def _stage_name(target: Path, folder: Path) -> Path:
    """A new hidden name; known before the folder is made, so that an interrupt in between leaves no folder behind."""
    return folder / f".{target.name[:_LONGEST_STEM]}.{secrets.token_hex(8)}"


def _make(stage: Path, target: Path) -> None:
    try:
        stage.mkdir(mode=0o700)
    except OSError as error:
        raise _refused(target, error.strerror or str(error), "make the folder writable or choose another") from None


def _place_in(target: Path, name: str) -> Path:
    """Where a staged file goes."""
    path = target.parent / name
    place = file_place(path)
    model = path.with_name(name.removesuffix(_DATA))
    if not name.endswith(".onnx" + _DATA):
        return place
    if path.is_symlink():
        raise OutputError(f"writing {path}", got="a link", expected="a plain file", remedy=f"remove it: rm {path}")
    return file_place(model).with_name(name)


def _move(moves: dict[Path, Path], target: Path) -> None:
    """Move each file to its place, all of them only once the last is sure to be on its place's own file system."""
    with contextlib.ExitStack() as stack:
        near = {_brought_near(path, place, target, stack): place for path, place in moves.items()}
        for path, place in near.items():
            _take_over(place, path)
        try:
            for path, place in near.items():
                path.replace(place)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise
            # A file that is mounted, or one that may be added to and not replaced.
            raise _refused(target, error.strerror or str(error), "choose another name or folder") from None


def _brought_near(path: Path, place: Path, target: Path, stack: contextlib.ExitStack) -> Path:
    if place.parent.stat().st_dev == path.stat().st_dev:
        return path
    folder = _stage_name(target, place.parent)
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    _make(folder, target)
    return Path(shutil.copyfile(path, folder / path.name))


def _take_over(old: Path, new: Path) -> None:
    """Give a new file the owner, where that is permitted, and the mode of the one that it replaces."""
    try:
        had = old.stat()
    except FileNotFoundError:
        return
    with contextlib.suppress(OSError, AttributeError):  # Windows has no chown
        os.chown(new, had.st_uid, had.st_gid)
    new.chmod(had.st_mode & 0o777)


def _check_utf8(target: Path, folder: Path) -> None:
    try:
        str(folder / target.name).encode()
    except UnicodeEncodeError:
        got = f"{os.fsencode(target)!r}, which is no UTF-8"
        raise OutputError(
            f"writing {str(target)!a}", got=got, expected="a path in UTF-8", remedy="choose another"
        ) from None


def _refused(target: Path, got: str, remedy: str) -> OutputError:
    return OutputError(f"writing {target}", got=got, expected="a writable folder with enough space", remedy=remedy)
