"""From a caller's arrays to a backend's feeds: every name, dtype, rank, size and length checked once."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnx_runtime.arrays.agreed_sizes import agreed_sizes
from rnnx_runtime.arrays.argument_errors import (
    no_state,
    other_sizes,
    other_states,
    unexpected,
    unfit_names,
    unsized_state,
)
from rnnx_runtime.arrays.array_views import checked_view
from rnnx_runtime.arrays.dim_sizes import known_shape
from rnnx_runtime.arrays.given_lengths import GivenLengths
from rnnx_runtime.arrays.table_lookups import check_lookups
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.errors import InputError
from rnnx_runtime.state import DeviceTensor, Part, State

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
        self._given_lengths = GivenLengths(contract)
        self._lengths = self._given_lengths.specs
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
            self._given_lengths.feed(feeds, lengths, known.sizes, known.longest)
        return feeds

    def _named(self, inputs: Any, lengths: Any) -> tuple[Feeds, _Known, Any]:
        """The plain inputs of a mapping, and the lengths that it holds."""
        if not isinstance(inputs, Mapping):
            if self._lone is None:
                got = f"one {type(inputs).__name__}"
                raise unfit_names("inputs", got, self._plain, "give a mapping of names to arrays")
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
        sizes = agreed_sizes(self._plain, values)
        self._check_ranges(self._plain, values)
        shapes = tuple(value.shape for value in values.values())
        states = tuple(known_shape(spec, sizes) for spec in self._states)
        is_sized = bool(states) and None not in states
        known = _Known(sizes, states, self._given_lengths.longest(sizes), is_sized)
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

    # States

    def _zeros_for(self, known: _Known) -> Feeds:
        """The state that is left out; the last sizes' zeros are kept, and cannot be written to."""
        own, zeros = self._zeros
        if own is not known:
            unknown = [spec for spec, shape in zip(self._states, known.states, strict=True) if shape is None]
            if unknown:
                raise unsized_state(unknown[0], known.sizes)
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
            raise unexpected("state", "a model without state inputs", remedy)
        if not isinstance(state, Mapping):
            raise no_state(self._contract, type(state).__name__)
        names = [spec.name for spec in self._states]
        if state.keys() != set(names):
            raise other_states(self._contract, state)
        values = dict(zip(state.names, state.parts, strict=True)) if type(state) is State else state
        for name in names:
            feeds[name] = self._part(name, values[name], known)
        agreed_sizes(self._contract.inputs, feeds)  # sizes that the inputs left open must agree between the states
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
            raise other_sizes(self._contract, spec, array.shape, known.sizes)
        return np.require(array, requirements=("C", "A"))

    # Names

    def _check_names(self, inputs: Mapping[str, Any], lengths: Any) -> None:
        """Refuse a mapping of other names than the model's; raises InputError."""
        allowed = {spec.name for spec in (*self._plain, *self._lengths)}
        states = {spec.name for spec in self._states}
        for name in inputs:
            if name not in allowed:
                remedy = "it is a state: give it in the second argument" if name in states else "leave it out"
                raise unfit_names("inputs", repr(name), (*self._plain, *self._lengths), remedy)
        missing = [spec.name for spec in self._plain if spec.name not in inputs]
        if missing:
            raise unfit_names("inputs", f"no {missing[0]!r}", self._plain, "give each of them")
        twice = [spec.name for spec in self._lengths if spec.name in inputs]
        if twice and lengths is not None:
            remedy = "leave one of the two out"
            raise InputError("lengths", got=f"them, and {twice[0]!r} among the inputs", expected="one", remedy=remedy)
