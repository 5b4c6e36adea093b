"""Storages of tensors as a checkpoint's pickle describes them, and views of them that stay inside."""

from dataclasses import dataclass
from typing import Any

from rnnx.weights.pickle_objects import Made, PickleDataError
from rnnx.weights.tensor_extent import extent_flaw, is_whole

STORAGE_ITEMS = {
    "torch.DoubleStorage": 8,
    "torch.FloatStorage": 4,
    "torch.HalfStorage": 2,
    "torch.BFloat16Storage": 2,
    "torch.LongStorage": 8,
    "torch.IntStorage": 4,
    "torch.ShortStorage": 2,
    "torch.CharStorage": 1,
    "torch.ByteStorage": 1,
    "torch.BoolStorage": 1,
    "torch.ComplexDoubleStorage": 16,
    "torch.ComplexFloatStorage": 8,
    "torch.QUInt8Storage": 1,
    "torch.QInt8Storage": 1,
    "torch.QInt32Storage": 4,
    "torch.QUInt4x2Storage": 1,
    "torch.QUInt2x4Storage": 1,
    "torch.storage.UntypedStorage": 1,
}
"""Bytes of an element of every kind of storage."""

LATER_DTYPES = {
    "torch.float8_e5m2": 1,
    "torch.float8_e4m3fn": 1,
    "torch.float8_e5m2fnuz": 1,
    "torch.float8_e4m3fnuz": 1,
    "torch.float8_e8m0fnu": 1,
    "torch.float4_e2m1fn_x2": 1,
    "torch.bits8": 1,
    "torch.bits16": 2,
    "torch.bits1x8": 1,
    "torch.bits2x4": 1,
    "torch.bits4x2": 1,
    "torch.complex32": 4,
    "torch.uint16": 2,
    "torch.uint32": 4,
    "torch.uint64": 8,
}
"""Bytes of an element of the dtypes that have no storage of their own (torch.storage._new_dtypes)."""

_LARGEST_NUMBER_OF_AXES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """Where a tensor's elements lie; `elements` are what the pickle claims, and the file has."""

    key: str
    kind: str
    elements: int

    @property
    def item(self) -> int:
        """Bytes of an element."""
        return STORAGE_ITEMS[self.kind]

    @property
    def nbytes(self) -> int:
        """Bytes of all."""
        return self.elements * self.item


@dataclass(frozen=True, kw_only=True, slots=True)
class Strided:
    """A plain tensor as the pickle describes it."""

    kind: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def is_contiguous(self) -> bool:
        """Whether its elements follow each other, row by row."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size > 1 and stride != expected:
                return False
            expected *= max(size, 1)
        return True


def strided(storage: Storage, kind: str, item: int, offset: Any, size: Any, stride: Any) -> Strided:
    """A view of a storage; raises PickleDataError where it reaches out of it."""
    shape, strides = plain_size(size), plain_size(stride)
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise PickleDataError("a tensor whose shape is no tuple")
    flaw = extent_flaw(shape, strides, offset, item, storage.nbytes)
    if flaw:
        raise PickleDataError(f"a tensor {flaw}")
    return Strided(kind=kind, shape=shape, strides=strides)


def plain_size(size: Any) -> Any:
    """A tuple, which may be wrapped into a `torch.Size`."""
    return size.finding if isinstance(size, Made) and isinstance(size.finding, tuple) else size


def is_size(size: Any) -> bool:
    """Whether it is a tuple of sizes, of as many axes as torch has."""
    return isinstance(size, tuple) and len(size) <= _LARGEST_NUMBER_OF_AXES and is_whole(*size)
