"""Tensors that lie as raw bytes in a zip archive of torch's, read one by one and without torch."""

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rnnx.errors import CheckpointError
from rnnx.extras import require
from rnnx.weights.named_tensors import TensorInfo
from rnnx.weights.tensor_extent import extent_flaw
from rnnx.weights.zip_members import ZipError, members_of, object_bytes
from rnnx_runtime.array_type import Array

if TYPE_CHECKING:
    import torch


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
        CheckpointError: it is no whole zip, or one that another reader could read otherwise.
    """

    def __init__(self, path: Path, expected: str) -> None:
        self.path, self._expected = path, expected
        try:
            with path.open("rb") as file:
                members = members_of(file)
        except (ZipError, OSError) as error:
            raise self.damaged(str(error)) from None
        self._size = path.stat().st_size
        self.entries = {name: member.info for name, member in members.items()}
        self.root = next(iter(self.entries), "").partition("/")[0]
        order = self.read(f"{self.root}/byteorder") if f"{self.root}/byteorder" in self.entries else b"little"
        if order not in (b"little", b"big"):
            raise self.damaged(f"the byte order {order[:20]!r}")
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

    @property
    def most_bytes(self) -> int:
        """What the objects that are packed into one of its entries may take in memory."""
        return object_bytes(self._size)

    def check(self, key: str, tensor: ArchiveTensor) -> None:
        """Refuse a tensor that reaches out of its entry, or repeats it to more than the whole file.

        Raises:
            CheckpointError: it does, or its numbers are no sizes at all.
        """
        info = self.entries.get(tensor.entry)
        if info is None:
            raise self.damaged(f"no entry {tensor.entry!r} for the tensor {key!r}")
        item = np.dtype(ITEM_DTYPES[tensor.dtype]).itemsize
        flaw = extent_flaw(tensor.shape, tensor.strides, tensor.offset, item, info.file_size)
        if flaw or math.prod(tensor.shape) * item > self._size:
            raise self.damaged(f"the tensor {key!r} {flaw or f'of shape {tensor.shape} in {self._size} bytes'}")

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
