"""Reading tensors out of a checkpoint without running any code that is in it."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rnnx.errors import CheckpointError
from rnnx.extras import require

Array = NDArray[Any]

_SAFETENSORS_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """A tensor's shape and dtype (`"float32"`, `"bfloat16"`, …), known before its values are read."""

    shape: tuple[int, ...]
    dtype: str


class Checkpoint(Protocol):
    """Named tensors, whatever file or module they come from."""

    name: str
    """The file's base name or the module's class name."""

    tensors: Mapping[str, TensorInfo]

    def read(self, key: str) -> Array:
        """The values of one tensor, as float64 where it was float64 and as float32 otherwise."""


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a `.safetensors` file, or a `.pt`, `.pth`, `.ckpt` or `.bin` file written by `torch.save`.

    Raises:
        CheckpointError: missing, of another suffix, unreadable, or a pickle that would execute code.
        MissingExtraError: safetensors or torch is not installed.
    """
    if not path.is_file():
        got = "a folder" if path.is_dir() else "no such file"
        raise CheckpointError(str(path), got=got, expected="a checkpoint", remedy="check the path")
    match path.suffix:
        case ".safetensors":
            return SafetensorsCheckpoint(path)
        case ".pt" | ".pth" | ".ckpt" | ".bin":
            return TorchCheckpoint(path.name, _flat_tensors(_load_pickle(path), path))
    raise CheckpointError(
        str(path),
        got=f"suffix {path.suffix!r}",
        expected=".safetensors, .pt, .pth, .ckpt or .bin",
        remedy="save the state dict in one of these formats",
    )


class SafetensorsCheckpoint:
    """A safetensors file, read tensor by tensor and without torch."""

    def __init__(self, path: Path) -> None:
        safetensors = require("safetensors", extra="export", purpose=f"reading {path.name}")
        self.name = path.name
        try:
            self._file = safetensors.safe_open(path, framework="numpy")
            slices = {key: self._file.get_slice(key) for key in self._file.keys()}  # noqa: SIM118 - not a dict
        except (safetensors.SafetensorError, OSError) as error:
            raise CheckpointError(
                str(path), got=str(error), expected="a whole safetensors file", remedy="save or copy it again"
            ) from None
        self.tensors: Mapping[str, TensorInfo] = {
            key: TensorInfo(
                shape=tuple(part.get_shape()), dtype=_SAFETENSORS_DTYPES.get(part.get_dtype(), part.get_dtype())
            )
            for key, part in slices.items()
        }

    def read(self, key: str) -> Array:
        """The values of one tensor, as `Checkpoint.read`."""
        if self.tensors[key].dtype == "bfloat16":  # a NumPy dtype only once this package is imported
            require("ml_dtypes", extra="export", purpose=f"reading bfloat16 from {self.name}")
        values: Array = self._file.get_tensor(key)
        return values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)


class TorchCheckpoint:
    """Tensors that torch holds: a loaded state dict or a module's own."""

    def __init__(self, name: str, tensors: Mapping[str, Any]) -> None:
        self.name = name
        self._tensors = tensors
        self.tensors: Mapping[str, TensorInfo] = {
            key: TensorInfo(shape=tuple(value.shape), dtype=str(value.dtype).removeprefix("torch."))
            for key, value in tensors.items()
        }

    def read(self, key: str) -> Array:
        """The values of one tensor, as `Checkpoint.read`.

        Raises:
            CheckpointError: the tensor has a shape and no values.
        """
        if self._tensors[key].is_meta:
            raise CheckpointError(
                f"key {key!r} of {self.name}",
                got="a tensor on the meta device, which has no values",
                expected="trained values",
                remedy="load the state dict into the module first",
            )
        value = self._tensors[key].detach().cpu().to_dense()
        values: Array = (value if self.tensors[key].dtype == "float64" else value.float()).numpy()
        return values


def _load_pickle(path: Path) -> Any:
    torch = require("torch", extra="export", purpose=f"reading {path.name}")
    try:
        if _is_torchscript(path):
            raise _not_a_checkpoint(path, "a TorchScript archive", "save module.state_dict() instead of the script")
    except OSError as error:
        raise _not_a_checkpoint(path, error.strerror or str(error), "make the file readable") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that are refused below, or that load all the same
            return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError as error:
        if not _is_pickle(path):
            raise _not_a_checkpoint(path, "neither a zip nor a pickle") from None
        raise CheckpointError(
            str(path),
            got=f"a pickle that needs more than tensors ({_unpickler_reason(error)})",
            expected="tensors in plain containers, loadable without executing code",
            remedy="save model.state_dict(), best as safetensors",
        ) from None
    except Exception as error:  # the unpickler lets through whatever a damaged byte leads to
        reason = _first_line(error) if _is_pickle(path) else "neither a zip nor a pickle"
        raise _not_a_checkpoint(path, reason) from None


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _is_torchscript(path: Path) -> bool:
    """Whether a file is a zip with TorchScript's code in it."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False  # damaged, which torch says better


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) in (b"PK", *(b"\x80" + bytes([protocol]) for protocol in range(6)))


def _not_a_checkpoint(path: Path, reason: str, remedy: str = "save or copy the checkpoint again") -> CheckpointError:
    return CheckpointError(str(path), got=reason, expected="a whole file written by torch.save", remedy=remedy)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def _unpickler_reason(error: Exception) -> str:
    """The one telling sentence of torch's page of advice, such as `Unsupported global: GLOBAL posix.system`."""
    telling = r"(?:WeightsUnpickler error:|Trying to load)\s*(.+?)(?: was not an allowed| whose module|\.? Please|\n|$)"
    found = re.search(telling, str(error))
    return found.group(1) if found else _first_line(error)


def _flat_tensors(value: Any, path: Path) -> dict[str, Any]:
    """Every tensor in nested dicts, lists and tuples under its dotted path."""
    tensors: dict[str, Any] = {}
    try:
        for key, tensor in _walk(value, ""):
            if key in tensors:
                raise _not_a_checkpoint(path, f"two tensors under the path {key!r}")
            tensors[key] = tensor
    except RecursionError:
        raise _not_a_checkpoint(path, "containers nested without end") from None
    return tensors


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if hasattr(value, "detach"):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _walk(inner, f"{path}.{index}" if path else str(index))
