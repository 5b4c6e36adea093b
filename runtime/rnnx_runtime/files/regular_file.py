"""Reading regular files alone: a FIFO that nobody writes to and a device without an end are refused, not waited for."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Literal


def open_regular(path: Path, *, follow_links: bool = True) -> BufferedReader:
    """Open a regular file for reading; it is judged by what was opened, not by what the path led to before.

    Raises:
        OSError: missing, unreadable, not a regular file, or a symbolic link where none is followed; `strerror` says so.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # opening a FIFO would wait
    if not follow_links:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except ValueError:  # a null byte, or a character that the file system cannot have
        raise OSError(errno.EINVAL, "a name that no file can have", ascii(str(path))) from None
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most `most` bytes.

    Raises:
        OSError: as `open_regular`; also for a larger file, one that shrinks meanwhile, or one larger than free memory.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"{size} bytes, more than the {most} that such a file can have", str(path))
        try:
            data = file.read(size)
        except MemoryError:
            raise OSError(errno.ENOMEM, f"{size} bytes, more than the free memory", str(path)) from None
    if len(data) < size:
        raise OSError(errno.EIO, f"{len(data)} bytes of {size}: it shrank while it was read", str(path))
    return data


def found_at(path: Path) -> Literal["file", "folder", "other", ""]:
    """What stands at a path or where its links lead; empty for nothing, and for a name that no file can have."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # too long, or with a character that the file system cannot have
        return ""
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"


def _require_regular(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = "a FIFO" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise OSError(errno.EINVAL, f"{kind}, no regular file", str(path))
