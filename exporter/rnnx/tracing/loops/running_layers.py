"""A recurrent layer that takes all steps of a loop in one call, while the rolled program is traced."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.all_steps import AllSteps, is_step_of_sequence
from rnnx.tracing.loops.calls import Call, narrowed, start_of
from rnnx.tracing.loops.rolled import Element, Fused
from rnnx.tracing.loops.step_operators import each
from rnnx.tracing.loops.values import Slice
from rnnx.tracing.opaque_layers import node_over_time

_LAST = Affine(base=-1, by_length=1)


class RunningLayer:
    """One such layer of a call, read as the loop would be whose only instruction it is.

    Where the steps go backwards the layer does: `output` lies as the sequence does, its first step last.
    """

    def __init__(self, call: Call, number: int, own: Fused) -> None:
        self._call, self._number, self._own, self._time = call, number, own, own.time
        self._first_state = len(own.shapes) - len(own.firsts)
        self._reverse = _goes_backwards(own.x[0]) if len(own.x) == 1 else False

    def run(self) -> None:
        """Trace the call."""
        own, shapes = self._own, self._own.shapes[self._first_state :]
        states = [start_of(self._call, first, shape) for first, shape in zip(own.firsts, shapes, strict=True)]
        self._output, *self._last = node_over_time(
            own.layer,
            self._sequence(own.x[0]) if len(own.x) == 1 else self._side_by_side(own.x),
            states,
            batched=own.batched,
            loop=self._number,
            reverse=self._reverse,
            names=own.names,
        )

    def element(self, place: int, part: int | None, index: Affine) -> Tensor:
        """What the call at an index gave."""
        if index == _LAST and (part or 0) >= self._first_state:
            return self._last[(part or 0) - self._first_state]
        steps = self._all(part)
        if not self._reverse:
            return steps.select(0, -1 if index == _LAST else self._call.number(index))
        return steps.select(0, 0 if index == _LAST else self._call.length - 1 - self._call.number(index))

    def collected(self, place: int, part: int | None) -> Tensor:
        """What the calls of all steps gave, in their order."""
        steps = self._all(part)
        return steps.flip(0) if self._reverse else steps

    def elements(self, place: int, part: int | None, first: Any, count: Any, *, downwards: bool) -> Tensor:
        """What the steps from the first on gave, time first."""
        low = first - count + 1 if downwards else first
        if self._reverse:
            low = self._call.length - low - count
        piece = narrowed(self._all(part), 0, low, count)
        return piece.flip(0) if downwards != self._reverse else piece

    def _all(self, part: int | None) -> Tensor:
        """What all calls gave, as the sequence lies."""
        if self._time is None:
            return self._output
        return self._output.unsqueeze(1 if part == 1 else self._time + 1)

    def _side_by_side(self, values: Sequence[Any]) -> Tensor:
        """Several values of each step as one."""
        steps = AllSteps(self._call)
        found: Tensor = torch.cat([each(steps.value(own), self._call.length) for own in values], -1)
        return found

    def _sequence(self, x: Any) -> Tensor:
        """All frames, `(T, B, I)`, in their own order."""
        steps = AllSteps(self._call)
        if isinstance(x, Slice) and is_step_of_sequence(x):
            found = steps.sequence(self._call.value(x.source), x.axis, x.start, as_it_lies=True)
            if not x.keeps or self._time is None:
                return found.unsqueeze(x.axis + 1) if x.keeps else found
            return found if x.axis == self._time else found.unsqueeze(x.axis + 1).squeeze(self._time + 1)
        if isinstance(x, Element) and x.index.by_step:
            found = steps.sequence(self._call.collected(x), 0, x.index, as_it_lies=True)
        else:
            found = each(steps.value(x), self._call.length)
        return found if self._time is None else found.squeeze(self._time + 1)


def _goes_backwards(x: Any) -> bool:
    """Whether what the steps read one by one is read from its end on."""
    start = x.start if isinstance(x, Slice) and is_step_of_sequence(x) else None
    start = x.index if isinstance(x, Element) else start
    return start is not None and start.by_step < 0
