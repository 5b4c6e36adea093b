"""The size that several tensors give to each symbol, and the refusal of those that do not agree."""

from collections.abc import Mapping, Sequence
from typing import Any

from rnnx_runtime.arrays.dim_sizes import symbol_sizes
from rnnx_runtime.contract import TensorSpec
from rnnx_runtime.dim_expressions import is_expression, size_of, symbols_of
from rnnx_runtime.errors import InputError

_SAME_SIZES = "equal names are equal sizes: cut or pad one of the inputs"
_OTHER_SIZES = "cut or pad the inputs to sizes that the model takes"


def agreed_sizes(specs: Sequence[TensorSpec], values: Mapping[str, Any]) -> dict[str, int]:
    """The size of each symbol; two tensors that disagree are named both, and an expression that does not hold."""
    given = [spec for spec in specs if spec.name in values]
    sizes = _alone(given, values)
    expressions = [spec for spec in given if any(map(is_expression, spec.dims))]
    if expressions:
        sizes = {**symbol_sizes((spec.dims, values[spec.name].shape) for spec in given), **sizes}
    for spec in expressions:
        for axis, dim in enumerate(spec.dims):
            size = values[spec.name].shape[axis]
            if is_expression(dim) and size_of(dim, sizes) != size:
                raise _no_such_size(spec, axis, size, sizes)
    return sizes


def _no_such_size(spec: TensorSpec, axis: int, size: int, sizes: Mapping[str, int]) -> InputError:
    dim = str(spec.dims[axis])
    wanted, known = size_of(dim, sizes), [symbol for symbol in symbols_of(dim) if symbol in sizes]
    told = f" with {', '.join(f'{symbol}={sizes[symbol]}' for symbol in known)}" if known else ""
    if wanted is not None and wanted > 0:
        expected = f"{dim} = {wanted}{told}, for {spec.shape}"
        return InputError(f"input {spec.name!r}", got=f"{size} in axis {axis}", expected=expected, remedy=_SAME_SIZES)
    expected = f"{dim}{told} for sizes from 1, in {spec.shape}"
    return InputError(f"input {spec.name!r}", got=f"{size} in axis {axis}", expected=expected, remedy=_OTHER_SIZES)


def _alone(specs: Sequence[TensorSpec], values: Mapping[str, Any]) -> dict[str, int]:
    """The size of each symbol that is a dim by itself."""
    sizes: dict[str, int] = {}
    first: dict[str, str] = {}
    for spec in specs:
        for dim, size in zip(spec.dims, values[spec.name].shape, strict=True):
            if not isinstance(dim, str) or not dim.isidentifier():
                continue
            if sizes.setdefault(dim, size) != size:
                raise InputError(
                    f"input {spec.name!r}",
                    got=f"{dim}={size} in {tuple(values[spec.name].shape)}",
                    expected=f"{dim}={sizes[dim]}, as in {first[dim]!r}, for {spec.shape}",
                    remedy="equal names are equal sizes: give both the same",
                )
            first.setdefault(dim, spec.name)
    return sizes
