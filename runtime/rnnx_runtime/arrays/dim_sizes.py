"""The sizes that a call gives to the symbolic dims of a contract."""

from collections.abc import Iterable, Mapping, Sequence

from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Dim, TensorSpec
from rnnx_runtime.dim_expressions import size_of, solved
from rnnx_runtime.state import DeviceTensor


def sizes_from_feeds(specs: Iterable[TensorSpec], feeds: Mapping[str, Array | DeviceTensor]) -> dict[str, int]:
    """The size of each symbol, such as `{"T": 20, "B": 3}`."""
    return symbol_sizes((spec.dims, feeds[spec.name].shape) for spec in specs)


def dims_from_feeds(specs: Sequence[TensorSpec], feeds: Mapping[str, Array | DeviceTensor]) -> dict[str, int]:
    """The size of each dim that is no number, expressions too, such as `{"T": 20, "T + 1": 21}`."""
    return {
        dim: size
        for spec in specs
        for dim, size in zip(spec.dims, feeds[spec.name].shape, strict=True)
        if isinstance(dim, str)
    }


def symbol_sizes(shaped: Iterable[tuple[Sequence[Dim], Sequence[int]]]) -> dict[str, int]:
    """The size of each symbol in dims of these sizes; one that stands alone nowhere is solved from an expression."""
    sizes: dict[str, int] = {}
    expressions: list[tuple[str, int]] = []
    for dims, shape in shaped:
        for dim, size in zip(dims, shape, strict=True):
            if isinstance(dim, str):
                if dim.isidentifier():
                    sizes[dim] = size
                else:
                    expressions.append((dim, size))
    while expressions:
        found = next((pair for dim, size in expressions if (pair := solved(dim, size, sizes))), None)
        if found is None:
            return sizes
        sizes[found[0]] = found[1]
    return sizes


def shape_from_sizes(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A tensor's shape under these sizes.

    Raises:
        KeyError: they do not say it.
    """
    shape = known_shape(spec, sizes)
    if shape is None:
        raise KeyError(f"{spec.name} {spec.shape}")
    return shape


def known_shape(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...] | None:
    """A tensor's shape under these sizes; None where they do not say it."""
    found: list[int] = []
    for dim in spec.dims:
        size = size_of(dim, sizes)
        if size is None:
            return None
        found.append(size)
    return tuple(found)
