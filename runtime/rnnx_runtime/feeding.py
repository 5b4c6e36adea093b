"""From a caller's arrays to a backend's feeds: every dtype, rank and size checked once, nothing copied without need."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.array_views import array_from_view
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.errors import InputError
from rnnx_runtime.state import DeviceTensor, State

Array = NDArray[Any]
Shape = tuple[int, ...]
Feeds = dict[str, Array | DeviceTensor]

_FLOAT32 = np.dtype(np.float32)

_PLAIN = 0x0101
"""NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED, which a backend needs: one look at `flags.num` finds both."""

_MOST_KNOWN_SHAPES = 256
"""Shapes of `x` whose consequences are remembered; a service sees few, and a scan of all must not grow memory."""


class _Sizes(NamedTuple):
    """What a shape of `x` fixes: B, T, and the shapes of h and c."""

    batch: int
    time: int
    states: tuple[Shape, ...]


class Feeding:
    """Checks the arguments of `Session.run` against a contract; parts of a state that `owner` holds stay there."""

    def __init__(self, contract: Contract, owner: object) -> None:
        self._contract = contract
        self._owner = owner
        self._x, *rest = contract.inputs
        self._x_of_step = TensorSpec(name="x", dtype="float32", dims=("B", contract.input_size))
        self._states = [spec for spec in rest if spec.name in ("h0", "c0")]
        self._has_c = len(self._states) == 2
        self._lengths = contract.lengths
        self._batch_axis = self._x.dims.index("B")
        self._time_axis = 1 if contract.batch_first else 0
        self._known: dict[Shape, _Sizes] = {}
        self._zeros: tuple[int, dict[str, Array]] = (0, {})

    def feeds(self, x: Any, state: State | None, lengths: Any) -> Feeds:
        """The backend's inputs by name, C-ordered; raises InputError as `Session.run` says."""
        # A remembered shape saves the walk over dims that a call of a few microseconds would notice.
        sizes = self._known.get(x.shape) if type(x) is np.ndarray and x.dtype is _FLOAT32 else None
        if sizes is None:
            x = _checked_view(x, self._x)
            sizes = self._remembered_sizes(x.shape)
        feeds: Feeds = {"x": x if x.flags.num & _PLAIN == _PLAIN else np.require(x, requirements=("C", "A"))}
        if state is None:
            feeds |= self._zeros_for(sizes)
        else:
            self._feed_state(feeds, state, sizes)
        if self._lengths:
            feeds["lengths"] = _checked_lengths(lengths, sizes.batch, sizes.time)
        elif lengths is not None:
            raise _unexpected("lengths", "a model exported without --lengths", "export it with --lengths")
        return feeds

    def x_of_step(self, x: Any) -> Array:
        """One time step `(B, I)` with the time axis that the model's `x` has; raises InputError as `feeds`."""
        if not (type(x) is np.ndarray and x.dtype is _FLOAT32 and x.ndim == 2 and x.shape[1] == self._x.dims[-1]):
            x = _checked_view(x, self._x_of_step)
        return x[:, None] if self._time_axis else x[None]  # type: ignore[no-any-return] # NumPy's stubs lose the shape

    def _remembered_sizes(self, shape: Shape) -> _Sizes:
        batch = shape[self._batch_axis]
        states = tuple(tuple(batch if dim == "B" else int(dim) for dim in spec.dims) for spec in self._states)
        sizes = _Sizes(batch, shape[self._time_axis], states)
        if len(self._known) < _MOST_KNOWN_SHAPES:
            self._known[shape] = sizes
        return sizes

    def _zeros_for(self, sizes: _Sizes) -> dict[str, Array]:
        """The state that is left out; the last batch's zeros are kept, and cannot be written to."""
        batch, zeros = self._zeros
        if batch != sizes.batch:
            pairs = zip(self._states, sizes.states, strict=True)
            zeros = {spec.name: np.zeros(shape, _FLOAT32) for spec, shape in pairs}
            for value in zeros.values():
                value.flags.writeable = False
            self._zeros = sizes.batch, zeros
        return zeros

    def _feed_state(self, feeds: Feeds, state: State, sizes: _Sizes) -> None:
        if not self._states:
            raise _unexpected("state", "a model exported with --no-state-inputs", "export it with state inputs")
        if type(state) is not State:
            raise self._no_state(state)
        h, c = state.parts
        feeds["h0"] = self._part(h, 0, sizes)
        if self._has_c:
            feeds["c0"] = self._part(c, 1, sizes)
        elif c is not None:
            raise _unexpected("state.c", "a GRU, which has no c", "give State(h)")

    def _part(self, value: Any, index: int, sizes: _Sizes) -> Array | DeviceTensor:
        """One part of a state; the first test is the usual case at the least cost."""
        if type(value) is np.ndarray and value.dtype is _FLOAT32 and value.shape == sizes.states[index]:
            return value if value.flags.num & _PLAIN == _PLAIN else np.require(value, requirements=("C", "A"))
        spec = self._states[index]
        if not isinstance(value, np.ndarray) and isinstance(value, DeviceTensor):
            if value.owner is self._owner and tuple(value.shape) == sizes.states[index]:
                return value
            value = value.numpy()  # another backend's, or one of a shape that the check below names
        array = _checked_view(value, spec)
        self._check_batch(array, spec, sizes.batch)
        return np.require(array, requirements=("C", "A"))

    def _check_batch(self, value: Array, spec: TensorSpec, batch: int) -> None:
        if value.shape[-2] != batch:
            raise InputError(
                f"state {spec.name!r}",
                got=f"batch {value.shape[-2]}",
                expected=f"batch {batch}, as in x",
                remedy=f"x is {self._x.shape} here; {self._layout_hint()}",
            )

    def _no_state(self, state: object) -> InputError:
        remedy = f"give {'State(h, c)' if self._contract.cell == 'lstm' else 'State(h)'}"
        return InputError("state", got=type(state).__name__, expected="a State", remedy=remedy)

    def _layout_hint(self) -> str:
        if self._contract.form != "encoder":
            return "give both the same batch"
        other = "(T, B, I)" if self._contract.batch_first else "(B, T, I)"
        return f"if your data is {other}, swap its first two axes"


def _checked_view(value: Any, spec: TensorSpec) -> Array:
    """The array that a value shows, of the dtype, rank and sizes of its spec, where a symbol is any size but 0."""
    array = array_from_view(value, f"input {spec.name!r}", f"{spec.dtype} {spec.shape}")
    if (
        array.dtype == _FLOAT32
        and array.ndim == len(spec.dims)
        and all(size == d if isinstance(d, int) else size > 0 for size, d in zip(array.shape, spec.dims, strict=True))
    ):
        return array
    raise _wrong_array(array, spec)


def _checked_lengths(lengths: Any, batch: int, time: int) -> Array:
    """The lengths as int32; a list will do here, for its few numbers are copied in any case."""
    if lengths is None:
        return np.full(batch, time, np.int32)
    expected = f"whole numbers ({batch},) from 1 to {time}"
    try:
        values = np.array(lengths) if isinstance(lengths, list) else array_from_view(lengths, "lengths", expected)
    except ValueError:  # a ragged list
        values = np.array(lengths, object)
    if values.shape != (batch,) or values.dtype.kind not in "iu":
        got = f"{values.dtype} {values.shape}"
    elif values.min() < 1 or values.max() > time:
        got = f"values from {values.min()} to {values.max()}"
    else:
        return values.astype(np.int32, order="C")
    raise InputError(
        "lengths",
        got=got,
        expected=expected,
        remedy="give one length per row; PyTorch's packed sequences refuse a zero length too",
    )


def _unexpected(name: str, model: str, remedy: str) -> InputError:
    return InputError(name, got=f"{name} for {model}", expected=f"no {name}", remedy=remedy)


def _wrong_array(array: Array, spec: TensorSpec) -> InputError:
    if array.dtype != _FLOAT32:
        remedy = "cast it with .astype('float32')"
    elif 0 in array.shape:
        remedy = "no dim may be empty"
    else:
        remedy = "reshape it to the model's contract (session.spec)"
    return InputError(
        f"input {spec.name!r}", got=f"{array.dtype} {array.shape}", expected=f"{spec.dtype} {spec.shape}", remedy=remedy
    )
