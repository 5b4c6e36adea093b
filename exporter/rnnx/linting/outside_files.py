"""The files beside an ONNX file that hold its weights, each found to be a plain file of the model's own folder."""

from pathlib import Path
from typing import Any

from rnnx_runtime.errors import FileDamagedError


def outside_files(path: Path, proto: Any) -> tuple[Path, ...]:
    """The files of external data that a graph names, each once; they may be missing.

    Raises:
        FileDamagedError: one lies outside the model's folder, or is a link or no regular file.
    """
    from rnnx.linting.rules.scopes import scopes_of

    found: dict[Path, None] = {}
    for tensor in (tensor for scope in scopes_of(proto) for tensor in scope.tensors.values()):
        for entry in tensor.external_data:
            if entry.key == "location":
                file = path.parent / entry.value
                if not _is_inside(file, path.parent):
                    raise FileDamagedError(
                        str(path),
                        got=f"external data at {entry.value!r}",
                        expected="a plain file inside the model's folder",
                        remedy="export it again with its data beside it",
                    )
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
