"""The rows of one step: frames in, states and outputs back to the pushes they belong to."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.pool.requests import DROPPED, Push
from rnnx_runtime.pool.slots import Slots
from rnnx_runtime.state import State

Array = NDArray[Any]


class Batch:
    """Pushes of different streams, a row each, and the next `frames` of each as `x (frames, B, I)`."""

    def __init__(self, pushes: list[Push], most_frames: int) -> None:
        self.pushes = pushes
        self.x, self.frames = _next_frames(pushes, most_frames)
        self._slots = [push.seat.slot for push in pushes]  # type: ignore[union-attr] # a push always has a seat

    def gather(self, slots: Slots) -> State:
        """The rows' states; a chunk that takes more than this step keeps the one it began with."""
        for push, slot in zip(self.pushes, self._slots, strict=True):
            if push.frames > self.frames and not push.started:
                push.saved = slots.read(slot)
        return slots.gather(self._slots)

    def keep(self, slots: Slots, state: State, y: Array, phases: list[int]) -> None:
        """Keep states and outputs of the rows that go on, and undo the rows that were dropped while they ran."""
        if DROPPED in phases:
            slots.scatter_some(self._slots, state, [row for row, phase in enumerate(phases) if phase != DROPPED])
            for push, phase in zip(self.pushes, phases, strict=True):
                if phase == DROPPED and push.started:
                    take_back(slots, push)
        else:
            slots.scatter(self._slots, state)
        for row, push in enumerate(self.pushes):
            if push.frames:
                push.take(y[:, row])
            else:
                push.block = y[0]
                push.row = row


def take_back(slots: Slots, push: Push) -> None:
    """Undo the part of a chunk that has run."""
    assert push.seat is not None
    assert push.saved is not None
    slots.write(push.seat.slot, *push.saved)


def _next_frames(pushes: list[Push], most_frames: int) -> tuple[Array, int]:
    """The next frames of each row, x `(k, B, I)`, and k: as many as every row has and may run."""
    left = [push.frames - push.started for push in pushes if push.frames]
    count = 1 if len(left) < len(pushes) else min(most_frames, *left)
    if count == 1:
        rows = [push.x[push.started] if push.frames else push.x for push in pushes]
        return np.concatenate(rows).reshape(1, len(rows), -1), 1
    return np.stack([push.x[push.started : push.started + count] for push in pushes], axis=1), count
