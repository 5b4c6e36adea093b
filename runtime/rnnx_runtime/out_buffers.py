"""A caller's buffers for results: every dtype, shape and overlap checked before the backend runs."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import Contract, Dim, TensorSpec
from rnnx_runtime.errors import InputError

Array = NDArray[Any]

_IN_PLACE = {"hn": "h0", "cn": "c0"}
"""Which input a buffer may be, for a state that is updated in place: backends compute all before they write any."""


class OutBuffers:
    """Checks the buffers of `Session.run` against a contract; `output` stands for a step's `y` too."""

    def __init__(self, contract: Contract) -> None:
        width = contract.directions * contract.projection_size
        self._x = contract.inputs[0]
        self._y = TensorSpec(name="output", dtype="float32", dims=("B", width))
        self._specs = {"output": self._y} | {spec.name: spec for spec in contract.outputs}

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
        sizes = dict(zip(self._x.dims, feeds["x"].shape, strict=True))
        for name, buffer in buffers.items():
            _check_buffer(buffer, self._specs[name], sizes)
            _check_inputs_kept(name, buffer, feeds)
        for (name, buffer), (other, second) in combinations(buffers.items(), 2):
            if np.may_share_memory(buffer, second):
                raise _overlap(name, f"out {other!r}")
        return buffers

    def check_y(self, y: Any, batch: int) -> None:
        """Check the buffer of a step's `y (B, D·P)`; raises InputError as `checked`."""
        _check_buffer(y, self._y, {"B": batch})


def _check_buffer(buffer: Any, spec: TensorSpec, sizes: Mapping[Dim, int]) -> None:
    shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims)
    if not isinstance(buffer, np.ndarray):
        got, remedy = type(buffer).__name__, "give a NumPy array to write into"
    elif buffer.dtype != np.float32 or buffer.shape != shape:
        got, remedy = f"{buffer.dtype} {buffer.shape}", f"make it with np.empty({shape}, np.float32)"
    elif not (buffer.flags.carray and buffer.dtype.isnative):
        got = f"{'a strided or unaligned' if buffer.flags.writeable else 'a read-only'} array"
        remedy = f"make it with np.empty({shape}, np.float32)"
    else:
        return
    expected = f"float32 {shape}, writable and C-contiguous"
    raise InputError(f"out {spec.name!r}", got=got, expected=expected, remedy=remedy)


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
