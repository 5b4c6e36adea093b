"""Frames and chunks of one stream: what a model takes of them, and where they lie in its `x` and `output`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.array_views import array_from_view
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import InputError

Array = NDArray[Any]
Index = tuple[int | slice | None, ...]

_FLOAT32 = np.dtype(np.float32)
_ALL = slice(None)


class FrameLayout:
    """A frame is `(I,)`, a chunk `(T, I)`; the indices say where a model has its axes of time and batch.

    `x[frame_in]` is a frame as the model's x and `output[frame_out]` its output; `chunk_in` and `chunk_out` are those
    of a chunk, which a step has not.
    """

    def __init__(self, contract: Contract) -> None:
        width, steps = contract.input_size, contract.steps
        self.frame: tuple[int, ...] | None = (width,) if steps in (None, 1) else None
        """The shape of a frame; None for a decoder of more than one step."""
        self.frame_in: Index = (None,) if contract.form == "step" else (None, None)
        self.frame_out: Index = (0,) if contract.form == "step" else (0, 0)
        self.chunk_in: Index = (None,) if contract.batch_first else (_ALL, None)
        self.chunk_out: Index = (0,) if contract.batch_first else (_ALL, 0)
        self._chunk = (steps, width)
        self._y_width = contract.projection_size
        frame = "" if self.frame is None else f"frame ({width},) or "
        self._expected = f"float32, a {frame}chunk ({steps or 'T'}, {width})"

    def checked(self, x: Any) -> Array:
        """The frame or chunk that x is or shows.

        Raises:
            InputError: x shows no array, or one of another dtype or shape.
        """
        array = array_from_view(x, "input 'x'", self._expected)
        if array.dtype == _FLOAT32 and (array.shape == self.frame or self._is_chunk(array)):
            return array
        if array.dtype != _FLOAT32:
            remedy = "cast it with .astype('float32')"
        elif array.ndim == 3:
            remedy = "a stream is one row: leave out the batch axis"
        else:
            remedy = "push what the model takes (session.spec)"
        raise InputError("input 'x'", got=f"{array.dtype} {array.shape}", expected=self._expected, remedy=remedy)

    def check_out(self, out: Any, x: Array) -> None:
        """Check a buffer for the output of x, `(P,)` or `(T, P)`.

        Raises:
            InputError: not a writeable float32 array of just that shape.
        """
        shape = (*x.shape[:-1], self._y_width)
        if not isinstance(out, np.ndarray):
            got = type(out).__name__
        elif out.dtype == _FLOAT32 and out.shape == shape and out.flags.writeable:
            return
        else:
            got = f"{out.dtype} {out.shape}{'' if out.flags.writeable else ', read-only'}"
        remedy = "leave it out for a new array"
        raise InputError("out", got=got, expected=f"float32 {shape}, writeable", remedy=remedy)

    def _is_chunk(self, array: Array) -> bool:
        steps, width = self._chunk
        return array.ndim == 2 and array.shape[1] == width and len(array) >= 1 and steps in (None, len(array))
