"""The frames that attention sees in a call: this call's and those before them that are in reach, and what hides others.

A square of every frame beside every other becomes one of the call's n frames beside `n + back + ahead` of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from rnnx.tracing.streams.masks import MaskTable, Reach
from rnnx.tracing.streams.operands import StreamCaches
from rnnx.tracing.streams.stream_plan import StreamPlan
from rnnx.tracing.streams.stream_run import Step, StreamRun, tensor_size_in


@dataclass(frozen=True, kw_only=True)
class AttentionWindow:
    """A reach over frames that lag by `lag`, of a sequence of `whole`; those that see lag by `ahead` more."""

    caches: StreamCaches
    reach: Reach
    rate: Fraction
    lag: int
    whole: Any

    def seeing(self, plan: StreamPlan, node: Node) -> Step:
        """The frames that see."""
        return plan.delayed(node, self.lag + self.reach.ahead - plan.times[node].lag).step

    def seen(self, plan: StreamPlan, node: Node) -> Step:
        """The frames that are seen: those of earlier calls in front of this call's."""
        value, before = plan.operand(node), self.reach.back + self.reach.ahead
        late = self.lag - value.time.lag
        joined, axis = self.caches.joined(value, before + late), value.time.axis

        def step(run: StreamRun) -> Tensor:
            frames = joined(run)
            return frames.narrow(axis, 0, run.count(self.rate) + before) if late else frames

        return step

    def inside(self, run: StreamRun, shape: Sequence[Any]) -> Tensor:
        """Which frames see which, beside a value of this shape; what is no frame sees all, for none would be NaN."""
        count, reach = run.count(self.rate), self.reach
        apart = self._apart(run)
        inside = (apart >= -reach.ahead) & (apart <= reach.back)
        seeing = run.indices(self.rate, count) - (self.lag + reach.ahead)
        before = reach.back + reach.ahead
        seen = run.indices(self.rate, before + count, before=before) - self.lag
        are_frames, are_none = seen >= 0, seeing < 0
        if self.caches.has_end:
            end = tensor_size_in(self.whole, self.caches.axes.time, run.length()).unsqueeze(1)
            are_frames, are_none = are_frames & (seen < end), are_none | (seeing >= end)
        return self._beside((inside & are_frames.unsqueeze(1)) | are_none.unsqueeze(2), shape)

    def mask(self, run: StreamRun, table: MaskTable, own: Sequence[Any], beside: Sequence[Any]) -> Tensor:
        """The values of a mask of the shape `own` in this call, to go beside a value of the shape `beside`."""
        values, width, period = table.values, table.reach.width, table.period
        dtype = run.dtype if values.is_floating_point() else values.dtype
        listed = torch.tensor(values.tolist(), dtype=dtype)
        columns = (self._apart(run) + self.reach.ahead).clamp(0, width - 1)
        if period == 1:
            return self._tiled(run, listed.squeeze(-2)[..., columns], own)
        places = (run.indices(self.rate, run.count(self.rate)) - (self.lag + self.reach.ahead)).clamp(min=0)
        places = torch.remainder(places, period).unsqueeze(2) * width + columns
        return self._beside(listed.flatten()[places], beside)

    def _apart(self, run: StreamRun) -> Tensor:
        """How many frames each that is seen comes before each that sees."""
        count = run.count(self.rate)
        before = self.reach.back + self.reach.ahead
        return torch.arange(count).unsqueeze(1) - torch.arange(before + count) + self.reach.back

    def _tiled(self, run: StreamRun, values: Tensor, shape: Sequence[Any]) -> Tensor:
        """The values for each row of the batch where an axis joins them with others."""
        batch = self.caches.axes.batch_axis(shape)
        if batch is None or self.caches.axes.rows_of(shape[batch]) == 1:
            return values
        return values.repeat(*[run.batch if axis == batch else 1 for axis in range(values.dim())])

    def _beside(self, square: Tensor, shape: Sequence[Any]) -> Tensor:
        """A square `(B, n, m)` beside a value whose last two axes are those."""
        batch = self.caches.axes.batch_axis(shape)
        if batch is None:
            return square.squeeze(0)
        square = square.repeat_interleave(self.caches.axes.rows_of(shape[batch]), 0)
        for axis in range(len(shape) - 2):
            square = square if axis == batch else square.unsqueeze(axis)
        return square
