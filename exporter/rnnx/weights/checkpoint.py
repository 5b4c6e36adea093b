"""Reading tensors out of a checkpoint without running any code that is in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rnnx.errors import CheckpointError
from rnnx.extras import require
from rnnx.weights.named_tensors import TensorCheckpoint, TensorInfo
from rnnx.weights.torch_pickle import flat_tensors, loaded_pickle, not_a_checkpoint
from rnnx.weights.torch_tensors import TorchCheckpoint
from rnnx_runtime.array_type import Array
from rnnx_runtime.files.regular_file import found_at

if TYPE_CHECKING:
    import torch


_SAFETENSORS_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}


def open_checkpoint(path: Path) -> TensorCheckpoint:
    """Open a `.safetensors` file, or a `.pt`, `.pth`, `.ckpt`, `.bin` or `.pt2` file of torch's.

    Of TorchScript and of exported programs, which are told by what is in them, the state alone is read.

    Raises:
        CheckpointError: missing, of another suffix, unreadable, or a pickle that would execute code.
        MissingExtraError: safetensors or torch is not installed.
    """
    found = found_at(path)
    if found != "file":
        got = {"": "no such file", "folder": "a folder"}.get(found, "no regular file")
        raise CheckpointError(str(path), got=got, expected="a checkpoint", remedy="check the path")
    match path.suffix:
        case ".safetensors":
            return SafetensorsCheckpoint(path)
        case ".pt" | ".pth" | ".ckpt" | ".bin" | ".pt2":
            return _open_torch(path)
    raise CheckpointError(
        str(path),
        got=f"suffix {path.suffix!r}",
        expected=".safetensors, .pt, .pth, .ckpt, .bin or .pt2",
        remedy="save the state dict in one of these formats",
    )


class SafetensorsCheckpoint:
    """A safetensors file, read tensor by tensor and without torch."""

    def __init__(self, path: Path) -> None:
        safetensors = require("safetensors", extra="export", purpose=f"reading {path.name}")
        self.name, self._path = path.name, path
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

    def tensor(self, key: str) -> "torch.Tensor":
        """The values of one tensor, as `TensorCheckpoint.tensor`."""
        require("torch", extra="export", purpose=f"reading {self.name}")
        safetensors = require("safetensors", extra="export", purpose=f"reading {self.name}")
        with safetensors.safe_open(self._path, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(key)
        return tensor


def _open_torch(path: Path) -> TensorCheckpoint:
    from rnnx.weights.exported_program_archive import is_exported_program, open_exported_program
    from rnnx.weights.torchscript_archive import is_torchscript, open_torchscript

    try:
        if is_torchscript(path):
            return open_torchscript(path)
        if is_exported_program(path):
            return open_exported_program(path)
    except OSError as error:
        raise not_a_checkpoint(path, error.strerror or str(error), "make the file readable") from None
    tensors = flat_tensors(loaded_pickle(path), path)
    return TorchCheckpoint(path.name, tensors, file_size=path.stat().st_size)
