"""Where a model's inputs and outputs have their axes of batch and time, to add and to take away."""

from dataclasses import replace
from typing import Any

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.array_views import checked_view
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.dim_expressions import is_expression, symbols_of

Index = tuple[int | slice | None, ...]

_ALL = slice(None)


def time_of(contract: Contract) -> str | None:
    """The symbol of the axis that a stream's frames follow each other on; None of a model that is one step.

    That is T, but of a decoder's step, whose context may have a time of its own.
    """
    timed = any(_multiple_of(dim, "T") for spec in contract.plain_inputs for dim in spec.dims)
    return "T" if timed and contract.decoder is None else None


def frames_per_step(spec: TensorSpec, time: str | None) -> int | None:
    """How many frames a step of time has in a tensor: 4 of `(B, 4*T, F)`; None of one without an axis of time."""
    found = [own for dim in spec.dims if (own := _multiple_of(dim, time))]
    return found[0] if found else None


def step_axis(spec: TensorSpec, time: str | None) -> int | None:
    """The axis of time, be it one of several frames for each step."""
    return next((axis for axis, dim in enumerate(spec.dims) if _multiple_of(dim, time)), None)


def _multiple_of(dim: str | int, time: str | None) -> int | None:
    """The k of a dim `k*T`; None of any other."""
    if time is None or not isinstance(dim, str):
        return None
    if dim == time:
        return 1
    factor, _, symbol = dim.partition("*")
    return int(factor) if symbol == time and factor.isdecimal() else None


def why_no_next_step(contract: Contract) -> str:
    """Why a model has no single next time step; empty where it has one."""
    bare, decoder, time = contract.bare, contract.decoder, time_of(contract)
    if any(own.directions == 2 and (own.form == "encoder") for own in contract.recurrent) and time is not None:
        return "a bidirectional encoder" if bare else "a bidirectional layer"
    if bare and bare.form == "unrolled" and bare.steps != 1:
        return f"{bare.steps} unrolled steps"
    if decoder and decoder.form != "step":
        return f"a decoder of {decoder.steps} steps in one graph"
    for spec in contract.plain_inputs if decoder is None else ():
        if any(is_expression(dim) and "T" in symbols_of(dim) and not _multiple_of(dim, "T") for dim in spec.dims):
            return f"an input {spec.name!r} {spec.shape}, of which a frame of the others has no part of its own"
    if time is not None:
        for spec in contract.plain_outputs:
            others = [
                dim
                for dim in spec.dims
                if isinstance(dim, str) and dim not in contract.free_dims and not _multiple_of(dim, time)
            ]
            if others:
                return f"an output {spec.name!r} of other lengths than its input, {others[0]}"
    return ""


def adding(spec: TensorSpec, *symbols: str | None) -> Index:
    """The index that gives an array without these axes them, each of size 1."""
    return tuple(None if dim in symbols else _ALL for dim in spec.dims)


def removing(spec: TensorSpec, *symbols: str | None) -> Index:
    """The index that takes these axes away at their first place."""
    return tuple(0 if dim in symbols else _ALL for dim in spec.dims)


class StepAxes:
    """One time step of a model that may have an axis of time: arrays without it in, arrays without it out."""

    def __init__(self, contract: Contract) -> None:
        time, bare = time_of(contract), contract.bare
        unrolled = bare is not None and bare.form == "unrolled"
        self._inputs: dict[str, tuple[Index, TensorSpec, np.dtype[Any]]] = {}
        for spec in contract.plain_inputs:
            index = _lead(spec, None) if unrolled else adding(spec, time)
            if None in index:
                self._inputs[spec.name] = index, _without(spec, index), np.dtype(spec.dtype)
        self._outputs = {
            spec.name: _lead(spec, 0) if unrolled else removing(spec, time) for spec in contract.plain_outputs
        }
        self.has_time = bool(self._inputs)
        """Whether a step's arrays lack an axis that the model has."""

    def with_time(self, name: str, value: Any) -> Any:
        """An input with the axis of time that a step's lacks; one that has none is left as it is.

        Raises:
            InputError: a wrong type, dtype, rank or size, for a step.
        """
        if name not in self._inputs:
            return value
        index, spec, dtype = self._inputs[name]
        if not (type(value) is np.ndarray and value.dtype is dtype and value.ndim == len(spec.dims)):
            value = checked_view(value, spec)
        return value[index]

    def frame_of(self, name: str, value: Array) -> Array:
        """The view of a whole input that a step's array is: without the axis of time, where it has one."""
        index = self._inputs[name][0] if name in self._inputs else ()
        frame: Array = value[(*(0 if own is None else own for own in index), ...)]
        return frame

    def output_index(self, name: str) -> Index:
        """The index that takes an output's axis of time away: 0 there, everything elsewhere."""
        return self._outputs[name]

    def without_time(self, name: str, value: Array) -> Array:
        """An output without the axis of time; a view."""
        found: Array = value[self._outputs[name]]
        return found


def _lead(spec: TensorSpec, first: int | None) -> Index:
    """An unrolled decoder's axis of steps is its first."""
    return (first, *[_ALL] * (len(spec.dims) - 1))


def _without(spec: TensorSpec, index: Index) -> TensorSpec:
    dims = tuple(dim for dim, own in zip(spec.dims, index, strict=True) if own is not None)
    return replace(spec, dims=dims)
