"""The state of a recurrence as a value."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, slots=True)
class State:
    """`h` and, for LSTM, `c` (None for GRU): `(L·D, B, P)` and `(L·D, B, H)` of an encoder, `(B, H)` of a cell."""

    h: NDArray[Any]
    c: NDArray[Any] | None = None
