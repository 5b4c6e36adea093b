"""Named tensors, whatever file or module they come from: what is known of each, and how it is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rnnx_runtime.array_type import Array

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """A tensor's shape and dtype (`"float32"`, `"bfloat16"`, …), known before its values are read.

    `flaw` says why they cannot be, as in `a sparse tensor (sparse_coo)`; it is empty for a tensor as any other.
    """

    shape: tuple[int, ...]
    dtype: str
    flaw: str = ""


class Checkpoint(Protocol):
    """Named tensors, whatever file or module they come from."""

    name: str
    """The file's base name or the module's class name."""

    tensors: Mapping[str, TensorInfo]

    def read(self, key: str) -> Array:
        """The values of one tensor, as float64 where it was float64 and as float32 otherwise."""


class TensorCheckpoint(Checkpoint, Protocol):
    """A checkpoint whose tensors torch can have as they are, for a module to load."""

    def tensor(self, key: str) -> "torch.Tensor":
        """The values of one tensor in its own dtype, on the CPU."""
