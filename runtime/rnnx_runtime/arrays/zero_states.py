"""States of zeros, of the sizes that a caller asks for."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from rnnx_runtime.arrays.dim_sizes import shape_from_sizes
from rnnx_runtime.contract import TensorSpec
from rnnx_runtime.dim_expressions import symbols_of
from rnnx_runtime.errors import InputError
from rnnx_runtime.state import State, state_of


def zero_state(names: tuple[str, ...], specs: Sequence[TensorSpec], batch: int, sizes: Mapping[str, int]) -> State:
    """The state of these names and specs for `batch` rows; raises InputError as `Session.initial_state` says."""
    if not isinstance(batch, int | np.integer) or batch < 1:
        raise InputError("batch", got=repr(batch), expected="a whole number ≥ 1", remedy="give the number of rows")
    known, symbols = {"B": int(batch), **sizes}, {own for spec in specs for dim in spec.dims for own in symbols_of(dim)}
    missing = symbols - known.keys()
    if missing:
        name = min(missing)
        raise InputError("sizes", got=f"no {name}", expected=f"{name}=N", remedy="a state has an axis of that size")
    _check_sizes(sizes, symbols - {"B"})
    return state_of(names, tuple(np.zeros(shape_from_sizes(spec, known), spec.dtype) for spec in specs))


def _check_sizes(sizes: Mapping[str, int], known: Collection[str]) -> None:
    """Refuse the size of a symbol that no state has, and what is no size."""
    for name, size in sizes.items():
        if name not in known:
            expected = ", ".join(f"{dim}=N" for dim in sorted(known)) or "none: batch says every size of a state"
            raise InputError("sizes", got=f"{name}={size!r}", expected=expected, remedy=f"leave {name} out")
        if not isinstance(size, int | np.integer) or size < 1:
            raise InputError(name, got=repr(size), expected="a whole number ≥ 1", remedy="give the axis's size")
