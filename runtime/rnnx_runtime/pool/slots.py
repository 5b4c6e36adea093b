"""The states of a pool's streams, one row each in memory that is taken once."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import TensorSpec
from rnnx_runtime.pool.row_groups import RowGroup
from rnnx_runtime.state import State, state_of

Index = tuple[Any, ...]

Parts = tuple[tuple[Array, Index | None, Array], ...]
"""Of each state the slots' memory, the axes in front of the batch's, and a buffer for some rows."""

_MOST_AWAY = 8
"""Groups of streams that run together; each step looks at all of them."""


class Slots:
    """Every state of S streams, each as its spec says with S for the batch; a free slot is all zeros.

    The states that a step gave stay where the backend left them as long as later steps run the same rows together, so
    that streams in lockstep are neither gathered nor scattered, nor leave their device.
    """

    def __init__(self, specs: Sequence[TensorSpec], capacity: int) -> None:
        self._names = tuple(spec.name for spec in specs)
        self._axes = tuple(spec.dims.index("B") for spec in specs)
        self._values = tuple(
            np.zeros([capacity if dim == "B" else int(dim) for dim in spec.dims], spec.dtype) for spec in specs
        )
        self._tables = tuple(
            _as_rows(value, capacity) if value.shape[:axis].count(1) == axis else None
            for value, axis in zip(self._values, self._axes, strict=True)
        )
        """The same memory with one element for each slot, of states without another axis in front."""
        self.free = deque(range(capacity))
        self._away: deque[tuple[list[int], State]] = deque()
        """Groups of slots whose states are where the backend left them; no slot is in two."""

    def gather(self, slots: list[int]) -> State:
        """The states of some slots as one batch."""
        for group, state in self._away:
            if group == slots:
                return state
        self._bring_home_any(slots)
        index = np.array(slots, np.intp)
        pairs = zip(self._values, self._axes, strict=True)
        return state_of(self._names, tuple([own.take(index, axis=axis, mode="clip") for own, axis in pairs]))

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
        for own, axis, name in zip(self._values, self._axes, self._names, strict=True):
            own[_at(axis, index)] = state[name].take(taken, axis=axis)

    def parts_of(self, buffers: Sequence[Array], rows: int) -> Parts:
        """Buffers for so many rows' states, in the order of the specs, as `read_into` and `write_from` take them."""
        return tuple(
            (own, (slice(None),) * axis, part) if table is None else (table, None, _as_rows(part, rows))
            for own, table, axis, part in zip(self._values, self._tables, self._axes, buffers, strict=True)
        )

    def read_into(self, group: RowGroup, parts: Parts) -> None:
        """Copy the states of some slots, a row each, into buffers."""
        if self._away:
            self._bring_home_any(group.slots)
        index = group.index
        for own, lead, part in parts:
            if lead is None:
                own.take(index, out=part, mode="clip")
            else:
                part[...] = own[(*lead, index)]

    def write_from(self, group: RowGroup, parts: Parts) -> None:
        """Copy states from buffers into some slots, a row each."""
        if self._away:
            self._bring_home_any(group.slots)
        index: Any = group.index
        for own, lead, part in parts:
            own[index if lead is None else (*lead, index)] = part

    def flush(self) -> None:
        """Bring all states home."""
        while self._away:
            self._bring(*self._away.popleft())

    def read(self, slot: int) -> tuple[Array, ...]:
        """A copy of one stream's states, each without the axis of the batch."""
        self._bring_home_any([slot])
        return tuple(own[_at(axis, slot)].copy() for own, axis in zip(self._values, self._axes, strict=True))

    def write(self, slot: int, *rows: Array) -> None:
        """Replace one stream's states, in the order of the specs."""
        self._bring_home_any([slot])
        for own, axis, row in zip(self._values, self._axes, rows, strict=True):
            own[_at(axis, slot)] = row

    def clear(self, slot: int) -> None:
        """Set one stream's states to zeros."""
        self._bring_home_any([slot])
        for own, axis in zip(self._values, self._axes, strict=True):
            own[_at(axis, slot)] = 0

    def release(self, slot: int) -> None:
        """Clear a slot and give it to the next stream that opens."""
        self.clear(slot)
        self.free.append(slot)

    def _bring(self, slots: list[int], state: State) -> None:
        index = np.array(slots, np.intp)
        for own, axis, name in zip(self._values, self._axes, self._names, strict=True):
            own[_at(axis, index)] = state[name]

    def _bring_home_any(self, slots: list[int]) -> None:
        """Bring home the groups that hold any of these slots."""
        wanted = set(slots)
        for away in [away for away in self._away if not wanted.isdisjoint(away[0])]:
            self._away.remove(away)
            self._bring(*away)


def _as_rows(value: Array, rows: int) -> Array:
    """An array in one piece as so many elements, each a row's bytes, which are copied faster than its numbers."""
    found: Array = value.reshape(-1).view((np.void, value.nbytes // rows))
    return found


def _at(axis: int, index: Any) -> Index:
    return (slice(None),) * axis + (index,)
