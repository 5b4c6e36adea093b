"""A caller's buffers for results: every dtype, shape and overlap checked before the backend runs."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import symbol_sizes
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.errors import InputError

Shape = tuple[int, ...]


class OutBuffers:
    """Checks the buffers of `Session.run` against a contract; of a bare step `output` is its `y`, beside `hn`."""

    def __init__(self, contract: Contract) -> None:
        self._inputs = contract.plain_inputs
        self._specs = {spec.name: spec for spec in contract.outputs}
        self.y = contract.plain_outputs[0].name if len(contract.plain_outputs) == 1 else None
        """What a lone buffer is for; None where there are several plain outputs."""
        if contract.bare and contract.bare.form == "step":
            self.y = "output"
            self._specs = {"output": replace(contract.outputs[0], name="output"), **self._specs}
        self._in_place = {pair.output: pair.input for pair in contract.states}
        self._shapes = lru_cache(maxsize=256)(self._shapes_from_inputs)  # a walk over dims costs as much as a copy

    def named(self, out: Array | Mapping[str, Array]) -> dict[str, Any]:
        """The buffers by name; a lone array is the one plain output.

        Raises:
            InputError: neither an array nor a mapping, or a name that the model's results do not have.
        """
        if isinstance(out, np.ndarray) and self.y is not None:
            return {self.y: out}
        listed = f"a mapping of {', '.join(self._specs)} to arrays"
        expected = f"an array, or {listed}" if self.y is not None else listed
        if not isinstance(out, Mapping):
            raise InputError("out", got=type(out).__name__, expected=expected, remedy="give NumPy arrays to write into")
        unknown = [name for name in out if name not in self._specs]
        if unknown:
            raise InputError("out", got=repr(unknown[0]), expected=expected, remedy="leave it out")
        return dict(out)

    def checked(self, out: Array | Mapping[str, Array], feeds: Mapping[str, Any]) -> dict[str, Array]:
        """The buffers by name for a run over `feeds`, which they do not overlap.

        Raises:
            InputError: as `named`; another dtype or shape, read-only, not C-contiguous; or an overlap that is no state
                updated in place.
        """
        buffers = self.named(out)
        shapes = self._shapes(*(feeds[spec.name].shape for spec in self._inputs))
        for name, buffer in buffers.items():
            _check_buffer(self._specs[name], buffer, shapes[name])
            self._check_inputs_kept(name, buffer, feeds)
        if len(buffers) > 1:
            _check_buffers_apart(buffers)
        return buffers

    def check_step(self, name: str, buffer: Any, shape: Shape) -> None:
        """Check the buffer of one output of a step, which lacks the axis of time; raises InputError as `checked`."""
        _check_buffer(self._specs[name], buffer, shape)

    def _shapes_from_inputs(self, *shapes: Shape) -> dict[str, Shape | None]:
        """The shape of each result; None where the contract does not say it."""
        dims = [(spec.dims, shape) for spec, shape in zip(self._inputs, shapes, strict=True)]
        known = {dim: size for own, shape in dims for dim, size in zip(own, shape, strict=True) if isinstance(dim, str)}
        sizes = {**symbol_sizes(dims), **known}
        return {name: _shape(spec, sizes) for name, spec in self._specs.items()}

    def _check_inputs_kept(self, name: str, buffer: Array, feeds: Mapping[str, Any]) -> None:
        for fed, value in feeds.items():
            if isinstance(value, np.ndarray) and np.may_share_memory(buffer, value):
                if value is buffer and fed == self._in_place.get(name):
                    continue
                raise _overlap(name, fed)


def _shape(spec: TensorSpec, sizes: Mapping[str, int]) -> Shape | None:
    if not all(isinstance(dim, int) or dim in sizes for dim in spec.dims):
        return None
    return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims)


def _check_buffers_apart(buffers: Mapping[str, Array]) -> None:
    for (name, buffer), (other, second) in combinations(buffers.items(), 2):
        if np.may_share_memory(buffer, second):
            raise _overlap(name, f"out {other!r}")


def _check_buffer(spec: TensorSpec, buffer: Any, shape: Shape | None) -> None:
    if shape is None:
        raise InputError(
            f"out {spec.name!r}",
            got="a buffer",
            expected=f"none, for its shape {spec.shape} is known only after the run",
            remedy="leave it out and take the array that is returned",
        )
    if type(buffer) is np.ndarray and buffer.dtype == spec.dtype and buffer.shape == shape and buffer.flags.carray:
        return
    remedy = f"make it with np.empty({shape}, np.{spec.dtype})"
    if type(buffer) is not np.ndarray:
        got = type(buffer).__name__
    elif buffer.dtype != spec.dtype or buffer.shape != shape:
        got = f"{buffer.dtype} {buffer.shape}"
    else:
        got = "a strided array" if buffer.flags.writeable else "a read-only array"
    expected = f"{spec.dtype} {shape}, writable and C-contiguous"
    raise InputError(f"out {spec.name!r}", got=got, expected=expected, remedy=remedy)


def _overlap(name: str, other: str) -> InputError:
    return InputError(
        f"out {name!r}",
        got=f"memory of {other}",
        expected="memory of its own",
        remedy="give another buffer; only hn may be the state's own h, and cn its own c, to update a state in place",
    )
