"""Loading what `torch.save` wrote, without executing anything in it."""

import io
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rnnx.errors import CheckpointError
from rnnx.extras import require

_MOST_NODES = 1_000_000
"""Values in nested containers; a few bytes can describe containers that share their parts without end."""


def loaded_pickle(path: Path, part: io.BytesIO | None = None) -> Any:
    """The tensors and plain containers of a file, or of the `part` of it that is given.

    Raises:
        CheckpointError: damaged, of another kind, or a pickle that would execute code.
        MissingExtraError: torch is not installed.
    """
    torch = require("torch", extra="export", purpose=f"reading {path.name}")
    start = _start(path, part)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that are refused below, or that load all the same
            mapped = part is None and start == b"PK"
            return torch.load(path if part is None else part, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if not _is_pickle(start):
            raise not_a_checkpoint(path, "neither a zip nor a pickle") from None
        raise CheckpointError(
            str(path),
            got=f"a pickle that needs more than tensors ({_unpickler_reason(error)})",
            expected="tensors in plain containers, loadable without executing code",
            remedy="save model.state_dict(), best as safetensors",
        ) from None
    except Exception as error:  # the unpickler lets through whatever a damaged byte leads to
        reason = _first_line(error) if _is_pickle(start) else "neither a zip nor a pickle"
        raise not_a_checkpoint(path, reason) from None


def flat_tensors(value: Any, path: Path) -> dict[str, Any]:
    """Every tensor in nested dicts, lists and tuples under its dotted path.

    Raises:
        CheckpointError: two have one path, or the containers have no end.
    """
    tensors: dict[str, Any] = {}
    try:
        for count, (key, tensor) in enumerate(_walk(value, "")):
            if count == _MOST_NODES:
                raise not_a_checkpoint(path, f"containers of more than {_MOST_NODES:,} values")
            if tensor is None:
                continue
            if key in tensors:
                raise not_a_checkpoint(path, f"two tensors under the path {key!r}")
            tensors[key] = tensor
    except RecursionError:
        raise not_a_checkpoint(path, "containers nested without end") from None
    return tensors


def not_a_checkpoint(path: Path, reason: str, remedy: str = "save or copy the checkpoint again") -> CheckpointError:
    """The error about a file that is damaged or of another kind."""
    return CheckpointError(str(path), got=reason, expected="a whole file written by torch.save", remedy=remedy)


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value in its place; None for one that is no tensor."""
    if hasattr(value, "detach"):
        yield path, value
        return
    yield path, None
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _walk(inner, f"{path}.{index}" if path else str(index))


def _start(path: Path, part: io.BytesIO | None) -> bytes:
    """The first two bytes, which tell a zip from a pickle and both from anything else."""
    if part is not None:
        return part.getvalue()[:2]
    try:
        with path.open("rb") as file:
            return file.read(2)
    except OSError as error:
        raise not_a_checkpoint(path, error.strerror or str(error), "make the file readable") from None


def _is_pickle(start: bytes) -> bool:
    return start in (b"PK", *(b"\x80" + bytes([protocol]) for protocol in range(6)))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def _unpickler_reason(error: Exception) -> str:
    """The one telling sentence of torch's page of advice, such as `Unsupported global: GLOBAL posix.system`."""
    telling = r"(?:WeightsUnpickler error:|Trying to load)\s*(.+?)(?: was not an allowed| whose module|\.? Please|\n|$)"
    found = re.search(telling, str(error))
    return found.group(1) if found else _first_line(error)
