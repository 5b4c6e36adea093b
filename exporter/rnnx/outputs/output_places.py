"""Where the path of an output leads, and what may be done there; one rule for every command.

A link stays a link: what it leads to is written. A regular file is replaced whole (`rnnx.artifacts`), and nothing else
ever is. A report also goes through what has no content to replace: a character device, a FIFO that somebody reads, or
a descriptor that this process has open, as /dev/stdout and /dev/fd/3 are.
"""

import errno
import os
import re
import stat
import threading
from dataclasses import dataclass
from pathlib import Path

from rnnx.errors import OutputError

_MOST_LINKS = 40
"""Links that Linux itself follows in a path."""

_DESCRIPTORS = re.compile(r"/proc/(\d+)(?:/task/(\d+))?/fd")


@dataclass(frozen=True, kw_only=True)
class OpenDescriptor:
    """One that this process has open, whatever is behind it."""

    number: int


def place_of(path: Path) -> Path | OpenDescriptor:
    """What a path leads to through its links, absolute; the last name need not be there yet.

    Raises:
        OutputError: the folder is missing, the links lead in a circle, or no file can have such a name.
    """
    try:
        return _followed(path)
    except (FileNotFoundError, NotADirectoryError):
        raise _refused(path, "no such folder", "a file in a folder that exists", _make(path)) from None
    except OSError as error:
        remedy = "repair the links" if error.errno == errno.ELOOP else "choose another name"
        raise _refused(path, error.strerror or str(error), "a name that a file can have", remedy) from None
    except ValueError:  # a null byte, or a surrogate that stands for no byte
        raise _refused(ascii(str(path)), "a name that no file can have", "another", "choose another name") from None


def file_place(path: Path) -> Path:
    """What a path leads to, which is a regular file or not there yet, and may be replaced by another file.

    Raises:
        OutputError: as `place_of`; also for a folder, a device, a FIFO, a socket, a descriptor, or a read-only file.
    """
    place = place_of(path)
    if isinstance(place, OpenDescriptor):
        raise _no_file(path, f"descriptor {place.number}, which is no file's name")
    kind = _kind(place)
    if kind not in ("", "a regular file"):
        raise _no_file(path, "a folder of that name" if kind == "a folder" else kind)
    if kind and not os.access(place, os.W_OK):
        raise _refused(path, "a read-only file", "one that may be written", f"chmod u+w {path}, or choose another name")
    return place


def open_stream(path: Path) -> int | None:
    """A descriptor to write through, where a path leads to a device, a FIFO or an open descriptor; None for a file.

    A FIFO's reader sees the end when the descriptor is closed, so it is to stay open until all is written.

    Raises:
        OutputError: as `file_place`, but for what is written through; also for a FIFO that nobody reads.
    """
    place = place_of(path)
    if isinstance(place, OpenDescriptor):
        return _duplicate(path, place.number)
    if _kind(place) not in ("a FIFO", "a device"):
        file_place(path)
        return None
    try:
        return _opened(place)
    except OSError as error:
        nobody = error.errno == errno.ENXIO and _kind(place) == "a FIFO"
        got = "a FIFO that nobody reads" if nobody else error.strerror or str(error)
        remedy = "start its reader first" if nobody else "name a file"
        raise _refused(path, got, "something that can be written to", remedy) from None


def _followed(path: Path) -> Path | OpenDescriptor:
    for _ in range(_MOST_LINKS):
        folder = Path(os.path.realpath(path.parent, strict=True))
        if _is_own(folder) and path.name.isdecimal():
            return OpenDescriptor(number=int(path.name))
        place = folder / path.name
        if not stat.S_ISDIR(folder.stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        try:
            mode = place.lstat().st_mode
        except FileNotFoundError:
            return place
        if not stat.S_ISLNK(mode):
            return place
        if _DESCRIPTORS.fullmatch(str(folder)):  # its link's text is no path
            raise PermissionError(errno.EACCES, "a descriptor of another process")
        path = folder / place.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _is_own(folder: Path) -> bool:
    found = _DESCRIPTORS.fullmatch(str(folder))
    own = (str(os.getpid()), None), (str(os.getpid()), str(threading.get_native_id()))
    return str(folder) == "/dev/fd" or (found is not None and found.groups() in own)


def _kind(place: Path) -> str:
    """What stands at a place, in words; empty where nothing does."""
    try:
        mode = place.lstat().st_mode
    except FileNotFoundError:
        return ""
    kinds = {stat.S_IFREG: "a regular file", stat.S_IFDIR: "a folder", stat.S_IFCHR: "a device", stat.S_IFIFO: "a FIFO"}
    others = {stat.S_IFBLK: "a block device", stat.S_IFSOCK: "a socket", stat.S_IFLNK: "a link"}
    return (kinds | others).get(stat.S_IFMT(mode), "no regular file")


def _duplicate(path: Path, number: int) -> int:
    import fcntl  # here, for Windows has none, nor such paths

    try:
        for_reading = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        own = os.dup(number)
    except (OSError, OverflowError):
        raise _refused(path, "a descriptor that is not open", "an open one", "open it, or name a file") from None
    if for_reading:
        os.close(own)
        raise _refused(path, "a descriptor open for reading alone", "one to write to", "name another")
    return own


def _opened(place: Path) -> int:
    """Opened without waiting and never made; judged once more by what was opened."""
    own = [getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_NOFOLLOW")]  # Windows has none of them
    descriptor = os.open(place, os.O_WRONLY | sum(own))
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
            raise OSError(errno.EINVAL, "another thing than a moment ago")
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _make(path: Path) -> str:
    """How the folder that is missing can be made, which may be the one that a link leads to."""
    folder = path.parent
    if path.is_symlink():
        folder = Path(os.path.realpath(path)).parent
    return f"create it: mkdir -p {folder}"


def _no_file(path: Path, got: str) -> OutputError:
    return _refused(path, got, "a regular file or a free name", "choose another name")


def _refused(path: Path | str, got: str, expected: str, remedy: str) -> OutputError:
    return OutputError(f"writing {path}", got=got, expected=expected, remedy=remedy)
