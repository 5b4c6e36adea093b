"""Weights outside the protobuf: every file that a graph names must lie in the model's own folder.

Backends open what a tensor names, wherever in the graph it stands, so all of them are looked at before any backend is.
"""

import re
from pathlib import Path

from rnnx_runtime.errors import FileDamagedError
from rnnx_runtime.files.external_data import ExternalTensor, external_tensors
from rnnx_runtime.printable import shown

_NUMBER = re.compile(r"[0-9]{0,18}", re.ASCII)
_LONGEST_NAME = 200


def outside_files(path: Path, data: bytes) -> tuple[Path, ...]:
    """The files of external data that the model at `path` names in its bytes, each once; they may be missing.

    Raises:
        FileDamagedError: one of them is not a plain file inside the model's folder, or a tensor lies beyond its end.
    """
    found: dict[Path, None] = {}
    try:
        tensors = external_tensors(data)
    except ValueError as error:
        raise _refused(path, str(error)) from None
    for tensor in tensors:
        file = path.parent / tensor.location
        if not tensor.location or not _is_inside(file, path.parent):
            raise _refused(path, f"external data at {shown(tensor.location, _LONGEST_NAME)!r}")
        if not _is_within(tensor, file):
            where = f"offset {tensor.offset or '0'}" + (f" of length {tensor.length}" if tensor.length else "")
            raise _refused(path, f"external data at {shown(where, _LONGEST_NAME)} of {file.name}")
        found[file] = None
    return tuple(found)


def _is_inside(file: Path, folder: Path) -> bool:
    """Whether a path is that of a regular file in a folder, or of nothing there yet; no link leads out of it."""
    try:
        real = file.resolve()
        inside = real.is_relative_to(folder.resolve()) and ".." not in file.relative_to(folder).parts
        return inside and not file.is_symlink() and (not real.exists() or real.is_file())
    except (OSError, ValueError):  # a name that no file can have, or an absolute one
        return False


def _is_within(tensor: ExternalTensor, file: Path) -> bool:
    """Whether offset and length are numbers, and end where the file does or before, if it is there."""
    if not (_NUMBER.fullmatch(tensor.offset) and _NUMBER.fullmatch(tensor.length)):
        return False
    return not file.exists() or int(tensor.offset or 0) + int(tensor.length or 0) <= file.stat().st_size


def _refused(path: Path, got: str) -> FileDamagedError:
    return FileDamagedError(
        str(path),
        got=got,
        expected="a plain file inside the model's folder",
        remedy="export it again with its data beside it",
    )
