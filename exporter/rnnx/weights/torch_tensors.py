"""Tensors that torch holds, as a checkpoint."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnnx.errors import CheckpointError
from rnnx.weights.named_tensors import TensorInfo
from rnnx.weights.tensor_flaw import plain_tensor, tensor_flaw, value_flaw
from rnnx_runtime.array_type import Array

if TYPE_CHECKING:
    import torch


_REMEDIES = {
    "meta": "load the state dict into the module first",
    "other": "save the weights as plain, dense tensors",
}


class TorchCheckpoint:
    """Tensors that torch holds: a module's own, or those of a file of `file_size` bytes."""

    def __init__(self, name: str, tensors: Mapping[str, Any], *, file_size: int | None = None) -> None:
        self.name = name
        self._tensors = tensors
        self.tensors: Mapping[str, TensorInfo] = {key: _info(value, file_size) for key, value in tensors.items()}

    def read(self, key: str) -> Array:
        """The values of one tensor, as `Checkpoint.read`; raises as `tensor`."""
        value = self.tensor(key)
        if value.is_complex():
            value = value.real
        values: Array = (value if self.tensors[key].dtype == "float64" else value.float()).numpy()
        return values

    def tensor(self, key: str) -> "torch.Tensor":
        """The values of one tensor, as `TensorCheckpoint.tensor`, not quantized.

        Raises:
            CheckpointError: the tensor is sparse or of another layout, or it has a shape and no values.
        """
        flaw = self.tensors[key].flaw or value_flaw(self._tensors[key])
        if flaw:
            raise CheckpointError(
                f"key {key!r} of {self.name}",
                got=flaw,
                expected="trained values in a plain tensor",
                remedy=_REMEDIES["meta" if self._tensors[key].is_meta else "other"],
            )
        return plain_tensor(self._tensors[key])


def _info(tensor: Any, file_size: int | None) -> TensorInfo:
    flaw = tensor_flaw(tensor, file_size)
    shape = () if tensor.is_nested else tuple(tensor.shape)  # a nested tensor has none
    return TensorInfo(shape=shape, dtype=str(tensor.dtype).removeprefix("torch."), flaw=flaw)
