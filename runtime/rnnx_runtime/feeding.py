"""From a caller's arrays to a backend's feeds: every name, dtype, rank, size and length checked once."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.arrays.array_views import array_from_view, checked_view
from rnnx_runtime.arrays.dim_sizes import known_shape, symbol_sizes
from rnnx_runtime.arrays.table_lookups import check_lookups
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.dim_expressions import is_expression, size_of, symbols_of
from rnnx_runtime.errors import InputError
from rnnx_runtime.state import DeviceTensor, Part, State

Array = NDArray[Any]
Shape = tuple[int, ...]
Feeds = dict[str, Part]

_PLAIN = 0x0101
"""NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED, which a backend needs: one look at `flags.num` finds both."""

_MOST_KNOWN_SHAPES = 256
"""Shapes of inputs whose consequences are remembered; a service sees few, and a scan of all must not grow memory."""


class _Known(NamedTuple):
    """What the shapes of the plain inputs fix: each symbol's size, the states' shapes, and the longest length.

    `is_sized` says whether they fix every state's shape.
    """

    sizes: dict[str, int]
    states: tuple[Shape | None, ...]
    longest: int | None
    is_sized: bool


class Feeding:
    """Checks the arguments of `Session.run` against a contract; parts of a state that `owner` holds stay there.

    Nothing is cast but lengths, and nothing is copied that a backend can take as it is.
    """

    def __init__(self, contract: Contract, owner: object = None) -> None:
        self._contract, self._owner = contract, owner
        self._specs = {spec.name: spec for spec in contract.inputs}
        self._plain = contract.plain_inputs
        self._slots = tuple((spec.name, np.dtype(spec.dtype)) for spec in self._plain)
        self._lone = self._slots[0] if len(self._slots) == 1 else None
        self._states = contract.state_specs
        self._state_names = tuple(pair.input for pair in contract.following)
        self._state_slots = tuple((spec.name, np.dtype(spec.dtype)) for spec in self._states)
        self._tables = tuple((name, rows) for name, rows in contract.table_sizes.items() if name in self._specs)
        self._lengths = tuple(self._specs[name] for name in contract.lengths)
        rows = {dim for spec in self._lengths for dim in spec.dims}
        dims = (dim for spec in contract.inputs for dim in spec.dims if isinstance(dim, str))
        self._times = tuple(dim for dim in dict.fromkeys(dims) if not rows.intersection(symbols_of(dim)))
        self._known: dict[tuple[Shape, ...] | Shape, _Known] = {}
        self._zeros: tuple[_Known | None, Feeds] = (None, {})

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of the states that a run gives."""
        return self._state_names

    def sizes(self, inputs: Any) -> dict[str, int]:
        """The size that inputs give to each symbol; raises InputError as `feeds`."""
        return self._named(inputs, None)[1].sizes

    def feeds(self, inputs: Any, state: Any, lengths: Any) -> Feeds:
        """The backend's inputs by name, C-ordered; raises InputError as `Session.run` says."""
        feeds: Feeds = {}
        known: _Known | None = None
        if self._lone is not None:
            name, dtype = self._lone
            value = inputs.get(name) if type(inputs) is dict and len(inputs) == 1 else inputs
            if type(value) is np.ndarray and value.dtype is dtype and value.flags.num & _PLAIN == _PLAIN:
                # A remembered shape saves the walk over dims that a call of a few microseconds would notice.
                known = self._known.get(value.shape)
                feeds = {name: value}
        if known is None:
            feeds, known, lengths = self._named(inputs, lengths)
        for name, rows in self._tables:
            check_lookups(name, feeds.get(name), rows)
        if state is None:
            feeds.update(self._zeros_for(known))
        elif type(state) is State and state._names is self._state_names and known.is_sized:  # no property: slow
            for (name, dtype), value, shape in zip(self._state_slots, state._values, known.states):  # noqa: B905 - slow
                feeds[name] = (
                    value
                    if type(value) is np.ndarray
                    and value.dtype is dtype
                    and value.shape == shape
                    and value.flags.num & _PLAIN == _PLAIN
                    else self._part(name, value, known)
                )
        else:
            self._feed_state(feeds, state, known)
        if self._lengths or lengths is not None:
            self._feed_lengths(feeds, lengths, known)
        return feeds

    def _named(self, inputs: Any, lengths: Any) -> tuple[Feeds, _Known, Any]:
        """The plain inputs of a mapping, and the lengths that it holds."""
        if not isinstance(inputs, Mapping):
            if self._lone is None:
                got = f"one {type(inputs).__name__}"
                raise self._unfit_names("inputs", got, self._plain, "give a mapping of names to arrays")
            return (*self._checked_inputs({self._lone[0]: inputs}), lengths)
        feeds: Feeds = {}
        shapes: list[Shape] = []
        for name, dtype in self._slots:
            value = inputs.get(name)
            if type(value) is not np.ndarray or value.dtype is not dtype or value.flags.num & _PLAIN != _PLAIN:
                shapes = []
                break
            feeds[name] = value
            shapes.append(value.shape)
        known = self._known.get(shapes[0] if len(shapes) == 1 else tuple(shapes)) if shapes else None
        given = {spec.name: inputs[spec.name] for spec in self._lengths if spec.name in inputs}
        if known is None or len(inputs) != len(self._slots) + len(given) or (given and lengths is not None):
            self._check_names(inputs, lengths)
            feeds, known = self._checked_inputs(inputs)
        return feeds, known, given or lengths

    def _checked_inputs(self, inputs: Mapping[str, Any]) -> tuple[Feeds, _Known]:
        """The plain inputs checked in full; what their shapes fix is remembered."""
        values = {spec.name: checked_view(inputs[spec.name], spec) for spec in self._plain}
        sizes = _sizes(self._plain, values)
        self._check_ranges(self._plain, values)
        shapes = tuple(value.shape for value in values.values())
        states = tuple(known_shape(spec, sizes) for spec in self._states)
        is_sized = bool(states) and None not in states
        known = _Known(sizes, states, self._longest(sizes), is_sized)
        key = shapes[0] if len(shapes) == 1 else shapes
        if len(self._known) < _MOST_KNOWN_SHAPES:
            known = self._known.setdefault(key, known)
        return {name: np.require(value, requirements=("C", "A")) for name, value in values.items()}, known

    def _check_ranges(self, specs: Sequence[TensorSpec], values: Mapping[str, Any]) -> None:
        """Refuse a size at which the model would go another way than the one exported; raises InputError."""
        for spec in specs if self._contract.ranges else ():
            for dim, size in zip(spec.dims, values[spec.name].shape, strict=True):
                own = self._contract.ranges.get(dim) if isinstance(dim, str) else None
                if own is not None and not own.holds(size):
                    raise InputError(
                        f"input {spec.name!r}",
                        got=f"{dim}={size} in {tuple(values[spec.name].shape)}",
                        expected=f"{dim} of {own}, for {spec.shape}",
                        remedy="the model goes another way at other sizes, which is not in this file: pad the input, "
                        "or export again with an example of such a size",
                    )

    def _longest(self, sizes: Mapping[str, int]) -> int | None:
        """The most that a length can be: the longest of the dims that are not the batch; None where all are fixed."""
        return max((size for dim in self._times if (size := size_of(dim, sizes)) is not None), default=None)

    # States

    def _zeros_for(self, known: _Known) -> Feeds:
        """The state that is left out; the last sizes' zeros are kept, and cannot be written to."""
        own, zeros = self._zeros
        if own is not known:
            unknown = [spec for spec, shape in zip(self._states, known.states, strict=True) if shape is None]
            if unknown:
                raise self._unsized(unknown[0], known)
            pairs = zip(self._state_slots, known.states, strict=True)
            zeros = {name: np.zeros(shape or (), dtype) for (name, dtype), shape in pairs}
            for value in zeros.values():
                value.flags.writeable = False  # type: ignore[union-attr] # all are arrays
            self._zeros = known, zeros
        return zeros

    def _feed_state(self, feeds: Feeds, state: Any, known: _Known) -> None:
        """A state in any other clothes: another session's `State`, or a mapping by name."""
        if isinstance(state, Mapping) and not state:  # what a run of a model without states gives
            feeds.update(self._zeros_for(known))
            return
        if not self._states:
            remedy = (
                "export it with state inputs" if self._contract.bare else "export it with stateful=True (--stateful)"
            )
            raise _unexpected("state", "a model without state inputs", remedy)
        if not isinstance(state, Mapping):
            raise self._no_state(type(state).__name__)
        names = [spec.name for spec in self._states]
        if state.keys() != set(names):
            raise self._other_states(state, names)
        values = dict(zip(state.names, state.parts, strict=True)) if type(state) is State else state
        for name in names:
            feeds[name] = self._part(name, values[name], known)
        _sizes(self._contract.inputs, feeds)  # sizes that the inputs left open must agree between the states
        self._check_ranges(self._states, feeds)

    def _part(self, name: str, value: Any, known: _Known) -> Part:
        """One part of a state, checked in full."""
        spec = self._specs[name]
        shape = known_shape(spec, known.sizes)
        if not isinstance(value, np.ndarray) and isinstance(value, DeviceTensor):
            if value.owner is self._owner and tuple(value.shape) == shape:
                return value
            value = value.numpy()  # another backend's, or one of a shape that the check below names
        array = checked_view(value, spec, "state")
        if shape is not None and array.shape != shape:
            raise self._other_sizes(spec, array.shape, known)
        return np.require(array, requirements=("C", "A"))

    def _other_sizes(self, spec: TensorSpec, shape: Shape, known: _Known) -> InputError:
        """The error for a state of other sizes than the inputs'."""
        pairs = zip(spec.dims, shape, strict=True)
        dim, size = next((str(dim), size) for dim, size in pairs if size_of(dim, known.sizes) != size)
        first = next(
            own for own in self._plain if {*symbols_of(dim)} & {s for other in own.dims for s in symbols_of(other)}
        )
        what = "batch " if dim == "B" else f"{dim}="
        return InputError(
            f"state {spec.name!r}",
            got=f"{what}{size}",
            expected=f"{what}{size_of(dim, known.sizes)}, as in {first.name}",
            remedy=f"{first.name} is {first.shape} here; {self._layout_hint()}",
        )

    def _layout_hint(self) -> str:
        bare = self._contract.bare
        if bare is None or bare.form != "encoder":
            return "give both the same sizes"
        other = "(T, B, I)" if bare.batch_first else "(B, T, I)"
        return f"if your data is {other}, swap its first two axes"

    def _other_states(self, state: Mapping[str, Any], names: list[str]) -> InputError:
        unknown = [name for name in state if name not in names]
        if unknown and unknown[0] in self._specs:
            return self._no_state(repr(unknown[0]), "it is an input: give it in the first argument")
        missing = [name for name in names if name not in state]
        return self._no_state(repr(unknown[0]) if unknown else f"no {missing[0]!r}")

    def _no_state(self, got: str, remedy: str = "") -> InputError:
        names = [spec.name for spec in self._states]
        listed = ", ".join(f"{spec.name} {spec.dtype} {spec.shape}" for spec in self._states)
        bare = {("h0",): "State(h)", ("h0", "c0"): "State(h, c)"}.get(tuple(names))
        usual = f"give {bare}" if bare else "give the state that the last call returned, or a mapping of all its names"
        return InputError("state", got=got, expected=f"a State of {listed}", remedy=remedy or usual)

    def _unsized(self, spec: TensorSpec, known: _Known) -> InputError:
        unknown = next(own for dim in spec.dims for own in symbols_of(dim) if own not in known.sizes)
        return InputError(
            f"state {spec.name!r}",
            got="none",
            expected=f"{spec.dtype} {spec.shape}",
            remedy=f"give it: no input says how large {unknown} is",
        )

    # Lengths

    def _feed_lengths(self, feeds: Feeds, lengths: Any, known: _Known) -> None:
        """Lengths of any integer type as the model's own, T where they are left out."""
        if not self._lengths:
            raise _unexpected("lengths", "a model without lengths", "export it with lengths=True (--lengths)")
        if len(self._lengths) > 1 and lengths is not None and not isinstance(lengths, Mapping):
            listed = [spec.name for spec in self._lengths]
            raise InputError(
                "lengths",
                got=f"one {type(lengths).__name__}",
                expected=f"a mapping of {', '.join(listed)}",
                remedy="name each of them",
            )
        given = lengths if isinstance(lengths, Mapping) else {} if lengths is None else {self._lengths[0].name: lengths}
        unknown = [name for name in given if name not in self._contract.lengths]
        if unknown:
            raise self._unfit_names("lengths", repr(unknown[0]), self._lengths, "leave it out")
        for spec in self._lengths:
            value = given.get(spec.name)
            feeds[spec.name] = self._full(spec, known) if value is None else self._own_lengths(spec, value, known)

    def _full(self, spec: TensorSpec, known: _Known) -> Array:
        shape = known_shape(spec, known.sizes)
        times = {known.sizes[dim] for dim in self._times if dim in known.sizes}
        whole = {known.sizes["T"]} if "T" in known.sizes and len(self._lengths) == 1 else times
        time = whole.pop() if len(whole) == 1 else None
        if shape is None or time is None:
            raise InputError(
                f"lengths {spec.name!r}",
                got="none",
                expected=f"whole numbers {spec.shape}",
                remedy="give them: no dim of the inputs says alone how long a sequence is",
            )
        return np.full(shape, time, spec.dtype)

    def _own_lengths(self, spec: TensorSpec, value: Any, known: _Known) -> Array:
        shape = known_shape(spec, known.sizes)
        most = "" if known.longest is None else f" to {known.longest}"
        expected = f"whole numbers {shape or spec.shape} from 1{most}"
        subject = spec.name if spec.name == "lengths" else f"lengths {spec.name!r}"
        try:
            values = np.array(value) if isinstance(value, list) else array_from_view(value, subject, expected)
        except ValueError:  # a ragged list
            values = np.array(value, object)
        if values.dtype.kind not in "iu" or values.ndim != 1 or (shape is not None and values.shape != shape):
            got = f"{values.dtype} {values.shape}"
        elif values.min() < 1 or (known.longest is not None and values.max() > known.longest):
            got = f"values from {values.min()} to {values.max()}"
        else:
            return values.astype(spec.dtype, order="C")
        raise InputError(
            subject,
            got=got,
            expected=expected,
            remedy="give one length per row; PyTorch's packed sequences refuse a zero length too",
        )

    # Names

    def _check_names(self, inputs: Mapping[str, Any], lengths: Any) -> None:
        """Refuse a mapping of other names than the model's; raises InputError."""
        allowed = {spec.name for spec in (*self._plain, *self._lengths)}
        states = {spec.name for spec in self._states}
        for name in inputs:
            if name not in allowed:
                remedy = "it is a state: give it in the second argument" if name in states else "leave it out"
                raise self._unfit_names("inputs", repr(name), (*self._plain, *self._lengths), remedy)
        missing = [spec.name for spec in self._plain if spec.name not in inputs]
        if missing:
            raise self._unfit_names("inputs", f"no {missing[0]!r}", self._plain, "give each of them")
        twice = [spec.name for spec in self._lengths if spec.name in inputs]
        if twice and lengths is not None:
            remedy = "leave one of the two out"
            raise InputError("lengths", got=f"them, and {twice[0]!r} among the inputs", expected="one", remedy=remedy)

    @staticmethod
    def _unfit_names(what: str, got: str, known: Sequence[TensorSpec], remedy: str) -> InputError:
        names = ", ".join(f"{spec.name} {spec.dtype} {spec.shape}" for spec in known)
        return InputError(what, got=got, expected=names or f"no {what}", remedy=remedy)


def _sizes(specs: Sequence[TensorSpec], values: Mapping[str, Any]) -> dict[str, int]:
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


_SAME_SIZES = "equal names are equal sizes: cut or pad one of the inputs"
_OTHER_SIZES = "cut or pad the inputs to sizes that the model takes"


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


def _unexpected(name: str, model: str, remedy: str) -> InputError:
    return InputError(name, got=f"{name} for {model}", expected=f"no {name}", remedy=remedy)
