"""The state of a recurrence as a value, wherever it lies."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class DeviceTensor(Protocol):
    """A part of a state that lies in the memory of a device, and never changes once a run has given it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, as of an array."""

    @property
    def owner(self) -> object:
        """The backend whose memory it lies in; another backend takes a copy from the host."""

    def numpy(self) -> NDArray[Any]:
        """A fresh copy in host memory; waits until the device has computed it."""


class State:
    """`h` and, for LSTM, `c` (None for GRU): `(L·D, B, P)` and `(L·D, B, H)` of an encoder, `(B, H)` of a cell.

    A state that a GPU computed stays there and is copied to the host when `h` or `c` is asked for. States are values: a
    later run never changes an earlier state.
    """

    __slots__ = ("_c", "_h")

    def __init__(self, h: NDArray[Any] | DeviceTensor, c: NDArray[Any] | DeviceTensor | None = None) -> None:
        self._h = h
        self._c = c

    @property
    def h(self) -> NDArray[Any]:
        """The hidden state in host memory."""
        return _on_host(self._h)

    @property
    def c(self) -> NDArray[Any] | None:
        """The cell state in host memory; None for GRU."""
        return None if self._c is None else _on_host(self._c)

    @property
    def parts(self) -> tuple[NDArray[Any] | DeviceTensor, NDArray[Any] | DeviceTensor | None]:
        """`h` and `c` where they lie."""
        return self._h, self._c

    @property
    def is_on_device(self) -> bool:
        """Whether asking for `h` or `c` copies from a device."""
        return not (isinstance(self._h, np.ndarray) and (self._c is None or isinstance(self._c, np.ndarray)))

    def __reduce__(self) -> tuple[Callable[..., "State"], tuple[NDArray[Any], NDArray[Any] | None]]:
        return State, (self.h, self.c)

    def __repr__(self) -> str:
        c = "" if self._c is None else f", c {self._c.shape}"
        return f"<State: h {self._h.shape}{c}{', on a device' if self.is_on_device else ''}>"


def _on_host(value: NDArray[Any] | DeviceTensor) -> NDArray[Any]:
    return value if isinstance(value, np.ndarray) else value.numpy()
