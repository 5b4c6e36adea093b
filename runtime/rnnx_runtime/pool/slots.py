"""The states of a pool's streams, one row each in memory that is taken once."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import Contract
from rnnx_runtime.state import State

Array = NDArray[Any]

_MOST_AWAY = 8
"""Groups of streams that run together; each step looks at all of them."""


class Slots:
    """`h (L·D, S, P)` and `c (L·D, S, H)` for S streams; a free slot is all zeros.

    The states that a step gave stay where the backend left them as long as later steps run the same rows together, so
    that streams in lockstep are neither gathered nor scattered, nor leave their device.
    """

    def __init__(self, contract: Contract, capacity: int) -> None:
        lead = contract.layers * contract.directions
        self._h = np.zeros((lead, capacity, contract.projection_size), np.float32)
        self._c = np.zeros((lead, capacity, contract.hidden_size), np.float32) if contract.cell == "lstm" else None
        self.free = deque(range(capacity))
        self._away: deque[tuple[list[int], State]] = deque()
        """Groups of slots whose states are where the backend left them; no slot is in two."""

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of one stream's h and, for LSTM, c."""
        return tuple((part.shape[0], part.shape[2]) for part in (self._h, self._c) if part is not None)

    def gather(self, slots: list[int]) -> State:
        """The states of some slots as one batch: h `(L·D, B, P)`, c `(L·D, B, H)`."""
        for group, state in self._away:
            if group == slots:
                return state
        self._bring_home_any(slots)
        index = np.array(slots, np.intp)
        c = None if self._c is None else self._c.take(index, axis=1, mode="clip")
        return State(self._h.take(index, axis=1, mode="clip"), c)

    def scatter(self, slots: list[int], state: State) -> None:
        """Take over the states that a step gave for these slots."""
        for index, (group, _) in enumerate(self._away):
            if group == slots:
                self._away[index] = slots, state
                return
        self._away.append((slots, state))
        if len(self._away) > _MOST_AWAY:
            self._bring(*self._away.popleft())

    def scatter_some(self, slots: list[int], state: State, rows: Sequence[int]) -> None:
        """Take over the states of some rows of a step; the other slots keep theirs."""
        self.flush()
        index = np.array([slots[row] for row in rows], np.intp)
        taken = np.array(rows, np.intp)
        self._h[:, index] = _with_layers(state.h, self._h)[:, taken]
        if self._c is not None:
            self._c[:, index] = _with_layers(state.c, self._c)[:, taken]

    def flush(self) -> None:
        """Bring all states home."""
        while self._away:
            self._bring(*self._away.popleft())

    def _bring(self, slots: list[int], state: State) -> None:
        index = np.array(slots, np.intp)
        self._h[:, index] = _with_layers(state.h, self._h)
        if self._c is not None:
            self._c[:, index] = _with_layers(state.c, self._c)

    def read(self, slot: int) -> tuple[Array, Array | None]:
        """A copy of one stream's state: h `(L·D, P)`, c `(L·D, H)` or None."""
        self._bring_home(slot)
        return self._h[:, slot].copy(), None if self._c is None else self._c[:, slot].copy()

    def write(self, slot: int, h: Array, c: Array | None) -> None:
        """Replace one stream's state."""
        self._bring_home(slot)
        self._h[:, slot] = h
        if self._c is not None:
            assert c is not None
            self._c[:, slot] = c

    def clear(self, slot: int) -> None:
        """Set one stream's state to zeros."""
        self._bring_home(slot)
        self._h[:, slot] = 0
        if self._c is not None:
            self._c[:, slot] = 0

    def release(self, slot: int) -> None:
        """Clear a slot and give it to the next stream that opens."""
        self.clear(slot)
        self.free.append(slot)

    def _bring_home(self, slot: int) -> None:
        self._bring_home_any([slot])

    def _bring_home_any(self, slots: list[int]) -> None:
        """Bring home the groups that hold any of these slots."""
        wanted = set(slots)
        for away in [away for away in self._away if not wanted.isdisjoint(away[0])]:
            self._away.remove(away)
            self._bring(*away)


def _with_layers(value: Array | None, slots: Array) -> Array:
    """A batch of states in the layout of slots; a cell gives them without the first axis."""
    assert value is not None
    return value.reshape(slots.shape[0], -1, slots.shape[2])
