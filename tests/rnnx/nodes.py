"""Devices of a test's own: never the system's."""

import os
import stat
from pathlib import Path

import pytest


def make_node(path: Path, minor: int = 3) -> Path:
    """A character device as /dev/null is (7: as /dev/full, 5: as /dev/zero); skips where this user may make none."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        pytest.skip(f"no device can be made and opened here: {error.strerror}")
    return path
