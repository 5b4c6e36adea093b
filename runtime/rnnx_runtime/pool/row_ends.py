"""Which of a row's results in a pool are the whole sequence's, and in whose order of axes they are given."""

from collections.abc import Sequence

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.frame_layout import FrameLayout, Frames
from rnnx_runtime.arrays.stream_ends import StreamEnds
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import InputError
from rnnx_runtime.pool.requests import Push
from rnnx_runtime.state import State, on_host, state_of


class RowEnds:
    """Follows each row's place in its sequence by the states that it carries.

    `is_plain` says that each call's results are the whole's as they are. `units` is how many frames a step of time has
    in each input, and `rates` in each output; 0 of one without time.
    """

    def __init__(self, contract: Contract, layout: FrameLayout) -> None:
        self.ends = StreamEnds(contract)
        self.is_plain = self.ends.is_plain
        self.multiple = self.ends.multiple
        self._position, self._end = contract.streaming.position, contract.streaming.end
        self.units = tuple(_steps_of(own, layout) for own in layout.inputs.values())
        self.rates = tuple(_steps_of(own, layout) for own in layout.outputs.values())
        self._names = tuple(layout.outputs)
        self._axes = tuple(
            own.chunk_axis if rate else 0 for own, rate in zip(layout.outputs.values(), self.rates, strict=True)
        )
        self._is_given_as_run = self.is_plain and not any(self._axes)

    def begin(self, pushes: Sequence[Push], state: State) -> State:
        """Note where the rows of a step are, and tell the state where sequences end."""
        if self.is_plain:
            return state
        firsts = on_host(state[self._position]) if self._position else np.zeros(len(pushes), np.int64)
        for push, first in zip(pushes, firsts.tolist(), strict=True):
            if not push.started:
                push.first = first
        lengths = [self._length(push) for push in pushes]
        if not self._end or not any(lengths):
            return state
        parts = dict(zip(state.names, state.parts, strict=True))
        parts[self._end] = np.array(lengths, np.int64)
        return state_of(state.names, tuple(parts.values()))

    def refusals(self, pushes: Sequence[Push]) -> list[tuple[Push, InputError]]:
        """Those of a step that `begin` has seen whose sequences may not end where they do, and why."""
        ending = [push for push in pushes if push.last is not None and not push.started and not self.is_plain]
        found = [(push, self.ends.why_too_short(self._length(push))) for push in ending]
        return [(push, error) for push, error in found if error is not None]

    def finish(self, push: Push) -> None:
        """End the sequence with its last chunk, and leave what is the whole's, with the axes as the model has them."""
        assert push.y is not None
        assert push.seat is not None
        push.seat.is_over = push.last is not None
        if self._is_given_as_run:
            return
        length = None if push.last is None or self.is_plain else self._length(push)
        push.y = [
            np.moveaxis(value[self.ends.kept(name, push.first, push.frames, length)] if rate else value, 0, axis)
            for name, rate, axis, value in zip(self._names, self.rates, self._axes, push.y, strict=True)
        ]

    def _length(self, push: Push) -> int:
        """The frames of a sequence that the push ends; 0 where it goes on."""
        return 0 if push.last is None else push.first * self.multiple + push.last


def time_first(values: Sequence[Array], layout: FrameLayout) -> tuple[Array, ...]:
    """Copies of a chunk's inputs, in their order, with the axis of time in front."""
    return tuple(
        [
            np.moveaxis(value, own.chunk_axis, 0).copy() if own.is_sequence else value.copy()
            for own, value in zip(layout.inputs.values(), values, strict=True)
        ]
    )


def _steps_of(own: Frames, layout: FrameLayout) -> int:
    return own.unit if own.is_sequence or not layout.has_time else 0
