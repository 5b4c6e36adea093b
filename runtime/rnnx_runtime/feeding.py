"""From a caller's arrays to a backend's feeds: every dtype, rank and size checked once, nothing copied without need."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.errors import InputError
from rnnx_runtime.state import State

Array = NDArray[Any]

_FLOAT32 = np.dtype(np.float32)

_MOST_KNOWN_SHAPES = 256
"""Shapes of `x` whose consequences are remembered; a service sees few, and a scan of all must not grow memory."""


class _Sizes(NamedTuple):
    """What a shape of `x` fixes: B, T, and the shapes of h and c."""

    batch: int
    time: int
    states: tuple[tuple[int, ...], ...]


class Feeding:
    """Checks the arguments of `Session.run` against a contract."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._x, *rest = contract.inputs
        self._states = [spec for spec in rest if spec.name in ("h0", "c0")]
        self._batch_axis = self._x.dims.index("B")
        self._time_axis = 1 if contract.batch_first else 0
        self._known: dict[tuple[int, ...], _Sizes] = {}

    def feeds(self, x: Array, state: State | None, lengths: Array | None) -> dict[str, Array]:
        """The backend's inputs by name, C-ordered; raises InputError as `Session.run` says."""
        # A remembered shape saves the walk over dims that a call of a few microseconds would notice.
        sizes = self._known.get(x.shape) if type(x) is np.ndarray and x.dtype is _FLOAT32 else None
        if sizes is None:
            sizes = self._checked_sizes(x)
        feeds = {"x": x if x.flags.c_contiguous else np.ascontiguousarray(x)}
        if self._states:
            self._feed_state(feeds, state, sizes)
        elif state is not None:
            raise _unexpected("state", "a model exported with --no-state-inputs", "export it with state inputs")
        if self._contract.lengths:
            feeds["lengths"] = _checked_lengths(lengths, sizes.batch, sizes.time)
        elif lengths is not None:
            raise _unexpected("lengths", "a model exported without --lengths", "export it with --lengths")
        return feeds

    def _checked_sizes(self, x: Array) -> _Sizes:
        check_array(x, self._x)
        batch = x.shape[self._batch_axis]
        states = tuple(tuple(batch if dim == "B" else int(dim) for dim in spec.dims) for spec in self._states)
        sizes = _Sizes(batch, x.shape[self._time_axis], states)
        if len(self._known) < _MOST_KNOWN_SHAPES:
            self._known[x.shape] = sizes
        return sizes

    def _feed_state(self, feeds: dict[str, Array], state: State | None, sizes: _Sizes) -> None:
        if state is None:
            for spec, shape in zip(self._states, sizes.states, strict=True):
                feeds[spec.name] = np.zeros(shape, _FLOAT32)
            return
        if type(state) is not State:
            raise self._no_state(state)
        shapes = sizes.states
        feeds["h0"] = self._part(state.h, 0, shapes[0], sizes.batch)
        if len(shapes) == 2:
            feeds["c0"] = self._part(state.c, 1, shapes[1], sizes.batch)
        elif state.c is not None:
            raise _unexpected("state.c", "a GRU, which has no c", "give State(h)")

    def _part(self, value: Any, index: int, shape: tuple[int, ...], batch: int) -> Array:
        """One part of a state, C-ordered; the first test is the usual case at the least cost."""
        if not (type(value) is np.ndarray and value.dtype is _FLOAT32 and value.shape == shape):
            self._check_state(value, self._states[index], batch)
        return value if value.flags.c_contiguous else np.ascontiguousarray(value)

    def _check_state(self, value: Any, spec: TensorSpec, batch: int) -> None:
        check_array(value, spec)
        if value.shape[-2] != batch:
            raise InputError(
                f"state {spec.name!r}",
                got=f"batch {value.shape[-2]}",
                expected=f"batch {batch}, as in x",
                remedy=f"x is {self._x.shape} here; {self._layout_hint()}",
            )

    def _no_state(self, value: object) -> InputError:
        remedy = f"give {'State(h, c)' if self._contract.cell == 'lstm' else 'State(h)'}"
        return InputError("state", got=type(value).__name__, expected="a State", remedy=remedy)

    def _layout_hint(self) -> str:
        if self._contract.form != "encoder":
            return "give both the same batch"
        other = "(T, B, I)" if self._contract.batch_first else "(B, T, I)"
        return f"if your data is {other}, swap its first two axes"


def check_array(value: object, spec: TensorSpec) -> None:
    """Check one array against its spec, where a symbolic dim is any size but 0.

    Raises:
        InputError: not a NumPy array, or of another dtype, rank or size.
    """
    if (
        isinstance(value, np.ndarray)
        and value.dtype == _FLOAT32
        and value.ndim == len(spec.dims)
        and all(
            size == dim if isinstance(dim, int) else size > 0 for size, dim in zip(value.shape, spec.dims, strict=True)
        )
    ):
        return
    raise _wrong_array(value, spec)


def _checked_lengths(lengths: Array | None, batch: int, time: int) -> Array:
    if lengths is None:
        return np.full(batch, time, np.int32)
    try:
        values = np.asarray(lengths)
    except ValueError:  # a ragged list
        values = np.asarray(lengths, object)
    if values.shape != (batch,) or values.dtype.kind not in "iu":
        got = f"{values.dtype} {values.shape}"
    elif values.min() < 1 or values.max() > time:
        got = f"values from {values.min()} to {values.max()}"
    else:
        return values.astype(np.int32)
    raise InputError(
        "lengths",
        got=got,
        expected=f"whole numbers ({batch},) from 1 to {time}",
        remedy="give one length per row; PyTorch's packed sequences refuse a zero length too",
    )


def _unexpected(name: str, model: str, remedy: str) -> InputError:
    return InputError(name, got=f"{name} for {model}", expected=f"no {name}", remedy=remedy)


def _wrong_array(value: object, spec: TensorSpec) -> InputError:
    expected = f"{spec.dtype} {spec.shape}"
    if not isinstance(value, np.ndarray):
        got, remedy = type(value).__name__, "give a NumPy array"
    else:
        got = f"{value.dtype} {value.shape}"
        if value.dtype != _FLOAT32:
            remedy = "cast it with .astype('float32')"
        elif 0 in value.shape:
            remedy = "no dim may be empty"
        else:
            remedy = "reshape it to the model's contract (session.spec)"
    return InputError(f"input {spec.name!r}", got=got, expected=expected, remedy=remedy)
