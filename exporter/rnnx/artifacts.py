"""Writing artefacts so that a reader sees all of them whole or none: staged in a hidden folder, then renamed."""

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rnnx.errors import OutputError


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A hidden folder beside `target`; its files move next to `target` when the block ends well, `target` last.

    Whatever ends the block early, an interrupt included, leaves nothing behind and every older file as it was. Each
    move is whole or not done, but two moves are not one: an end between them leaves a new file beside an old one, which
    the SHA-256 that one of the two holds of the other then gives away.

    Raises:
        OutputError: the folder is missing or not writable, a folder has a file's name, or the disk is full.
    """
    folder = target.parent
    if not folder.is_dir():
        raise _refused(target, "no such folder", f"create it: mkdir -p {folder}")
    try:
        _refuse_folder(target)
        stage = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=folder))
    except OSError as error:
        raise _refused(target, error.strerror or str(error), "make the folder writable or choose another") from None
    try:
        yield stage
        files = sorted(stage.iterdir(), key=lambda path: path.name == target.name)
        for path in files:
            _refuse_folder(folder / path.name)
        for path in files:
            path.replace(folder / path.name)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG):
            raise
        raise _refused(target, error.strerror or str(error), "free some space or choose another folder") from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise OutputError(
            f"writing {path}", got="a folder of that name", expected="a file's name", remedy="choose another name"
        )


def _refused(target: Path, got: str, remedy: str) -> OutputError:
    return OutputError(f"writing {target}", got=got, expected="a writable folder with enough space", remedy=remedy)
