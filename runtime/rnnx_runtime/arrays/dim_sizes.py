"""The sizes that a call gives to the symbolic dims of a contract."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from rnnx_runtime.contract import TensorSpec
from rnnx_runtime.state import DeviceTensor


def sizes_from_feeds(specs: tuple[TensorSpec, ...], feeds: Mapping[str, NDArray[Any] | DeviceTensor]) -> dict[str, int]:
    """The size of each symbolic dim, such as `{"T": 20, "B": 3}`."""
    return {
        dim: size
        for spec in specs
        for dim, size in zip(spec.dims, feeds[spec.name].shape, strict=True)
        if isinstance(dim, str)
    }


def shape_from_sizes(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A tensor's shape under these sizes."""
    return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims)
