"""Tensors that lie as raw bytes in a zip archive of torch's, read one by one and without torch."""

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rnnx.checkpoint import TensorInfo
from rnnx.errors import CheckpointError
from rnnx.extras import require

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]

ITEM_DTYPES = {
    "bfloat16": "u2",  # NumPy has none; its bits are the upper half of a float32's
    "float16": "f2",
    "float32": "f4",
    "float64": "f8",
    "bool": "u1",
    "uint8": "u1",
    "int8": "i1",
    "int16": "i2",
    "int32": "i4",
    "int64": "i8",
    "complex64": "c8",
    "complex128": "c16",
}
"""How the elements of each dtype of torch's lie in a file."""

_MOST_AXES = 64
"""NumPy's and torch's own limit."""


@dataclass(frozen=True, kw_only=True)
class ArchiveTensor:
    """A view of an entry's bytes; `strides` and `offset` count elements, as torch's do."""

    entry: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


class Archive:
    """A zip that torch wrote, all of whose entries lie under one folder.

    Raises:
        CheckpointError: it is no whole zip.
    """

    def __init__(self, path: Path, expected: str) -> None:
        self.path, self._expected = path, expected
        self._size = path.stat().st_size
        try:
            with zipfile.ZipFile(path) as file:
                infos = file.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise self.damaged(str(error)) from None
        self.entries = {info.filename: info for info in infos}
        if len(self.entries) < len(infos):
            raise self.damaged("two entries of one name, of which torch may read the other")
        self.root = next(iter(self.entries), "").partition("/")[0]
        order = self.read(f"{self.root}/byteorder") if f"{self.root}/byteorder" in self.entries else b"little"
        self._byte_order: Literal["<", ">"] = ">" if order == b"big" else "<"

    def read(self, entry: str) -> bytes:
        """An entry's bytes, of which there are never more than the file has.

        Raises:
            CheckpointError: there is no such entry, it is damaged, or compressed, which torch never does with data.
        """
        info = self.entries.get(entry)
        if info is None:
            raise self.damaged(f"no entry {entry!r}")
        if info.compress_type != zipfile.ZIP_STORED or not info.compress_size == info.file_size <= self._size:
            raise self.damaged(f"the entry {entry!r} compressed or of an untrue size")
        try:
            with zipfile.ZipFile(self.path) as file:
                return file.read(info)
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
            raise self.damaged(f"the entry {entry!r} broken ({error})") from None

    def check(self, key: str, tensor: ArchiveTensor) -> None:
        """Refuse a tensor that reaches out of its entry, or repeats it to more than the whole file.

        Raises:
            CheckpointError: it does, or its numbers are no sizes at all.
        """
        info = self.entries.get(tensor.entry)
        if info is None:
            raise self.damaged(f"no entry {tensor.entry!r} for the tensor {key!r}")
        numbers = (*tensor.shape, *tensor.strides, tensor.offset)
        whole = all(type(number) is int and 0 <= number < 2**63 for number in numbers)
        if not whole or len(tensor.shape) != len(tensor.strides):
            raise self.damaged(f"the tensor {key!r} of sizes or strides that are no whole numbers from 0")
        if len(tensor.shape) > _MOST_AXES:
            raise self.damaged(f"the tensor {key!r} of {len(tensor.shape)} axes")
        item = np.dtype(ITEM_DTYPES[tensor.dtype]).itemsize
        fits = math.prod(tensor.shape) * item <= self._size and math.prod(filter(None, tensor.shape)) * item < 2**63
        if _reach(tensor) * item > info.file_size or not fits:
            raise self.damaged(f"the tensor {key!r} of shape {tensor.shape} in {info.file_size} bytes")

    def array(self, tensor: ArchiveTensor) -> Array:
        """A checked tensor's elements, bfloat16 as its bits; not to be written to."""
        dtype = np.dtype(ITEM_DTYPES[tensor.dtype]).newbyteorder(self._byte_order)
        data = self.read(tensor.entry)
        storage = np.frombuffer(data, dtype, count=len(data) // dtype.itemsize)[tensor.offset :]
        moves = 0 not in tensor.shape  # a stride along an axis of one element may be any number
        pairs = zip(tensor.shape, tensor.strides, strict=True)
        steps = tuple(stride * dtype.itemsize if moves and size > 1 else 0 for size, stride in pairs)
        return np.lib.stride_tricks.as_strided(storage, tensor.shape, steps, writeable=False)

    def damaged(self, got: str, remedy: str = "save or copy it again") -> CheckpointError:
        """The one error about this file."""
        return CheckpointError(str(self.path), got=got, expected=self._expected, remedy=remedy)


class ArchiveCheckpoint:
    """Named tensors of an archive, all of them checked, none of them read yet.

    Raises:
        CheckpointError: a tensor reaches out of the file.
    """

    def __init__(self, archive: Archive, tensors: Mapping[str, ArchiveTensor]) -> None:
        for key, tensor in tensors.items():
            archive.check(key, tensor)
        self.name = archive.path.name
        self._archive, self._tensors = archive, tensors
        self.tensors: Mapping[str, TensorInfo] = {
            key: TensorInfo(shape=tensor.shape, dtype=tensor.dtype) for key, tensor in tensors.items()
        }

    def read(self, key: str) -> Array:
        """The values of one tensor, as `Checkpoint.read`."""
        array = self._archive.array(self._tensors[key])
        if self.tensors[key].dtype == "bfloat16":
            return (array.astype(np.uint32) << 16).view(np.float32)
        if self.tensors[key].dtype.startswith("complex"):
            array = array.real
        return np.array(array, np.float64 if self.tensors[key].dtype == "float64" else np.float32, order="C")

    def tensor(self, key: str) -> "torch.Tensor":
        """The values of one tensor in its own dtype, as `TensorCheckpoint.tensor`."""
        library = require("torch", extra="export", purpose=f"reading {self.name}")
        array = self._archive.array(self._tensors[key])
        native = np.array(array, array.dtype.newbyteorder("="), order="C")
        # torch has few operations for uint16, and needs none of them: the bits are then a bfloat16's
        tensor: torch.Tensor = library.from_numpy(native.view(np.int16) if native.dtype == np.uint16 else native)
        return tensor.view(getattr(library, self.tensors[key].dtype))


def _reach(tensor: ArchiveTensor) -> int:
    """Elements of the entry up to the last that the view touches."""
    if 0 in tensor.shape:
        return 0
    return tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True)) + 1
