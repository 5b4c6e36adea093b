"""From a caller's named arrays to a whole model's feeds: every name, dtype, rank and size checked, nothing cast."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.array_views import array_from_view
from rnnx_runtime.contract import Dim, TensorSpec
from rnnx_runtime.dim_sizes import shape_from_sizes
from rnnx_runtime.errors import InputError
from rnnx_runtime.model_contract import ModelContract

Array = NDArray[Any]

_PLAIN = 0x0101
"""NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED, which a backend needs: one look at `flags.num` finds both."""


class _Slot(NamedTuple):
    """An input in the words of the usual case: what NumPy's own objects are compared with, without a detour."""

    name: str
    dtype: np.dtype[Any]
    dims: tuple[Dim, ...]
    is_state: bool
    is_lengths: bool


class ModelFeeding:
    """Checks the arguments of `ModelSession.run` against a contract."""

    def __init__(self, contract: ModelContract) -> None:
        states = {pair.input for pair in contract.states}
        self._inputs = {spec.name: spec for spec in contract.inputs if spec.name not in states}
        self._states = {spec.name: spec for spec in contract.inputs if spec.name in states}
        self._lengths = contract.lengths
        rows = {dim for spec in contract.inputs if spec.name in contract.lengths for dim in spec.dims}
        self._times = {dim for spec in contract.inputs for dim in spec.dims if isinstance(dim, str)} - rows
        self._slots = tuple(
            _Slot(spec.name, np.dtype(spec.dtype), spec.dims, spec.name in states, spec.name in contract.lengths)
            for spec in contract.inputs
        )

    def feeds(self, inputs: Mapping[str, Any], state: Mapping[str, Any] | None) -> dict[str, Array]:
        """The backend's inputs by name, C-ordered; raises InputError as `ModelSession.run` says."""
        plain = self._plain_feeds(inputs, {} if state is None else state)
        return self._checked_feeds(inputs, state) if plain is None else plain

    def _plain_feeds(self, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Array] | None:
        """The feeds of the usual call, which has arrays that need no change; None for any other, right or wrong.

        It costs a tenth of the full checks, which a step of some ten microseconds would notice.
        """
        if type(inputs) is not dict or type(state) is not dict:
            return None
        feeds: dict[str, Array] = {}
        sizes: dict[str, int] = {}
        absent: list[_Slot] = []
        for slot in self._slots:
            value: Any = (state if slot.is_state else inputs).get(slot.name)
            if value is None and slot.is_state:
                absent.append(slot)
            elif _is_plain(value, slot, sizes):
                feeds[slot.name] = value
            else:
                return None
        if len(inputs) + len(state) != len(feeds):  # a name that nobody knows
            return None
        for slot in self._slots:
            if slot.is_lengths and not _are_lengths(feeds[slot.name].tolist(), self._longest(sizes)):
                return None
        for slot in absent:
            if not all(type(dim) is int or dim in sizes for dim in slot.dims):
                return None
            feeds[slot.name] = np.zeros([dim if type(dim) is int else sizes[str(dim)] for dim in slot.dims], slot.dtype)
        return feeds

    def _checked_feeds(self, inputs: Mapping[str, Any], state: Mapping[str, Any] | None) -> dict[str, Array]:
        given = {} if state is None else state
        self._check_names("inputs", inputs, self._inputs)
        self._check_names("state", given, self._states)
        missing = [name for name in self._inputs if name not in inputs]
        if missing:
            raise self._unfit_names("inputs", f"no {missing[0]!r}", self._inputs, "give each of them")
        values = {name: self._input(spec, inputs[name]) for name, spec in self._inputs.items()}
        values |= {name: _checked_view(given[name], spec) for name, spec in self._states.items() if name in given}
        sizes = self._sizes(values)
        for name in self._lengths:
            _check_lengths(name, values[name], self._longest(sizes))
        values |= {name: self._zeros(spec, sizes) for name, spec in self._states.items() if name not in given}
        return {name: np.require(value, requirements=("C", "A")) for name, value in values.items()}

    def _longest(self, sizes: Mapping[str, int]) -> int | None:
        """The most that a length can be: the longest of the dims that are not the batch; None where all are fixed."""
        return max((sizes[dim] for dim in self._times if dim in sizes), default=None)

    def _input(self, spec: TensorSpec, value: Any) -> Array:
        if spec.name not in self._lengths:
            return _checked_view(value, spec)
        return _checked_view(_lengths_array(value, spec), spec)

    def _sizes(self, values: Mapping[str, Array]) -> dict[str, int]:
        """The size of each symbol; two tensors that disagree are named both."""
        sizes: dict[str, int] = {}
        first: dict[str, str] = {}
        specs = self._inputs | self._states
        for name, value in values.items():
            for dim, size in zip(specs[name].dims, value.shape, strict=True):
                if not isinstance(dim, str):
                    continue
                if sizes.setdefault(dim, size) != size:
                    raise InputError(
                        f"input {name!r}",
                        got=f"{dim}={size} in {value.shape}",
                        expected=f"{dim}={sizes[dim]}, as in {first[dim]!r}, for {specs[name].shape}",
                        remedy="equal names are equal sizes: give both the same",
                    )
                first.setdefault(dim, name)
        return sizes

    def _zeros(self, spec: TensorSpec, sizes: Mapping[str, int]) -> Array:
        unknown = [dim for dim in spec.dims if isinstance(dim, str) and dim not in sizes]
        if unknown:
            raise InputError(
                f"state {spec.name!r}",
                got="none",
                expected=f"{spec.dtype} {spec.shape}",
                remedy=f"give it: no input says how large {unknown[0]} is",
            )
        return np.zeros(shape_from_sizes(spec, sizes), spec.dtype)

    def _check_names(self, what: str, given: Any, known: Mapping[str, TensorSpec]) -> None:
        if not isinstance(given, Mapping):
            got, remedy = type(given).__name__, "give a mapping of names to arrays"
            raise self._unfit_names(what, got, known, remedy)
        for name in given:
            if name in known:
                continue
            remedy = "leave it out"
            if name in self._states:
                remedy = "it is a state: give it in the second argument"
            elif name in self._inputs:
                remedy = "it is an input: give it in the first argument"
            raise self._unfit_names(what, repr(name), known, remedy)

    @staticmethod
    def _unfit_names(what: str, got: str, known: Mapping[str, TensorSpec], remedy: str) -> InputError:
        names = ", ".join(f"{spec.name} {spec.dtype} {spec.shape}" for spec in known.values())
        return InputError(what, got=got, expected=names or f"no {what}", remedy=remedy)


def _is_plain(value: Any, slot: _Slot, sizes: dict[str, int]) -> bool:
    """Whether a value is an array that fits as it is; the sizes of its symbols are added to `sizes`."""
    if type(value) is not np.ndarray or value.dtype is not slot.dtype or value.flags.num & _PLAIN != _PLAIN:
        return False
    if value.ndim != len(slot.dims):
        return False
    for dim, size in zip(slot.dims, value.shape, strict=True):
        if (size != dim) if type(dim) is int else (size == 0 or sizes.setdefault(str(dim), size) != size):
            return False
    return True


def _are_lengths(values: list[int], time: int | None) -> bool:
    return min(values) >= 1 and (time is None or max(values) <= time)


def _checked_view(value: Any, spec: TensorSpec) -> Array:
    """The array that a value shows, of the dtype, rank and sizes of its spec, where a symbol is any size but 0."""
    array = array_from_view(value, f"input {spec.name!r}", f"{spec.dtype} {spec.shape}")
    if (
        array.dtype == spec.dtype
        and array.ndim == len(spec.dims)
        and all(size == d if isinstance(d, int) else size > 0 for size, d in zip(array.shape, spec.dims, strict=True))
    ):
        return array
    if array.dtype != spec.dtype:
        remedy = f"cast it with .astype('{spec.dtype}')"
    elif 0 in array.shape:
        remedy = "no dim may be empty"
    else:
        remedy = "reshape it to the model's contract (session.spec)"
    raise InputError(
        f"input {spec.name!r}", got=f"{array.dtype} {array.shape}", expected=f"{spec.dtype} {spec.shape}", remedy=remedy
    )


def _lengths_array(value: Any, spec: TensorSpec) -> Any:
    """Lengths of any integer type as the model's own; a list will do, for its few numbers are copied in any case."""
    try:
        array = np.array(value) if isinstance(value, list) else array_from_view(value, spec.name, spec.shape)
    except ValueError:  # a ragged list
        array = np.array(value, object)
    return array.astype(spec.dtype) if array.dtype.kind in "iu" else array


def _check_lengths(name: str, values: Array, time: int | None) -> None:
    if _are_lengths(values.tolist(), time):
        return
    raise InputError(
        f"input {name!r}",
        got=f"values from {values.min()} to {values.max()}",
        expected="whole numbers from 1" + ("" if time is None else f" to {time}, the time of the sequence"),
        remedy="PyTorch's packed sequences refuse a zero length too: leave empty rows out",
    )
