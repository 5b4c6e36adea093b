"""A caller's buffers for results: every dtype, shape and overlap checked before the backend runs."""

from collections.abc import Mapping
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.errors import InputError

Array = NDArray[Any]
Shape = tuple[int, ...]

_FLOAT32 = np.dtype(np.float32)

_IN_PLACE = {"hn": "h0", "cn": "c0"}
"""Which input a buffer may be, for a state that is updated in place: backends compute all before they write any."""


class OutBuffers:
    """Checks the buffers of `Session.run` against a contract; `output` stands for a step's `y` too."""

    def __init__(self, contract: Contract) -> None:
        self._x = contract.inputs[0]
        self._width = contract.directions * contract.projection_size
        y = TensorSpec(name="output", dtype="float32", dims=("B", self._width))
        self._specs = {"output": y} | {spec.name: spec for spec in contract.outputs}
        self._shapes = lru_cache(maxsize=256)(self._shapes_from_x)  # a walk over dims costs as much as a small copy

    def named(self, out: Array | Mapping[str, Array]) -> dict[str, Any]:
        """The buffers by name; a lone array is `output`.

        Raises:
            InputError: neither an array nor a mapping, or a name that the model's results do not have.
        """
        if isinstance(out, np.ndarray):
            return {"output": out}
        expected = f"an array, or a mapping of {', '.join(self._specs)} to arrays"
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
        shapes = self._shapes(feeds["x"].shape)
        for name, buffer in buffers.items():
            _check_buffer(name, buffer, shapes[name])
            _check_inputs_kept(name, buffer, feeds)
        if len(buffers) > 1:
            _check_buffers_apart(buffers)
        return buffers

    def check_y(self, y: Any, batch: int) -> None:
        """Check the buffer of a step's `y (B, D·P)`; raises InputError as `checked`."""
        _check_buffer("output", y, (batch, self._width))

    def _shapes_from_x(self, x: Shape) -> dict[str, Shape]:
        sizes = dict(zip(self._x.dims, x, strict=True))
        return {
            name: tuple(sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims)
            for name, spec in self._specs.items()
        }


def _check_buffers_apart(buffers: Mapping[str, Array]) -> None:
    for (name, buffer), (other, second) in combinations(buffers.items(), 2):
        if np.may_share_memory(buffer, second):
            raise _overlap(name, f"out {other!r}")


def _check_buffer(name: str, buffer: Any, shape: Shape) -> None:
    if type(buffer) is np.ndarray and buffer.dtype == _FLOAT32 and buffer.shape == shape and buffer.flags.carray:
        return
    remedy = f"make it with np.empty({shape}, np.float32)"
    if type(buffer) is not np.ndarray:
        got = type(buffer).__name__
    elif buffer.dtype != _FLOAT32 or buffer.shape != shape:
        got = f"{buffer.dtype} {buffer.shape}"
    else:
        got = "a strided array" if buffer.flags.writeable else "a read-only array"
    raise InputError(f"out {name!r}", got=got, expected=f"float32 {shape}, writable and C-contiguous", remedy=remedy)


def _check_inputs_kept(name: str, buffer: Array, feeds: Mapping[str, Any]) -> None:
    for fed, value in feeds.items():
        if isinstance(value, np.ndarray) and np.may_share_memory(buffer, value):
            if value is buffer and fed == _IN_PLACE.get(name):
                continue
            raise _overlap(name, fed)


def _overlap(name: str, other: str) -> InputError:
    return InputError(
        f"out {name!r}",
        got=f"memory of {other}",
        expected="memory of its own",
        remedy="give another buffer; only hn may be the state's own h, and cn its own c, to update a state in place",
    )
