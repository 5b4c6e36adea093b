"""A value of a streaming plan and what can be done to its frames: delay, pad, and put the earlier ones in front."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from rnnx.errors import StreamingError
from rnnx.modules.source_lines import line_of_node
from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.streams.cache_names import CacheNames
from rnnx.tracing.streams.stream_run import CacheSpec, Step, StreamRun, tensor_size_in
from rnnx.tracing.streams.timelines import StreamAxes, Timeline


@dataclass(frozen=True, kw_only=True)
class Operand:
    """A value with an axis of time: the node that gives it in the trace, its timeline, its shape there, its step.

    `edge` gives what the whole begins with where that is no number: a frame, such as the first one.
    """

    node: Node
    time: Timeline
    shape: tuple[Any, ...]
    step: Step
    edge: Step | None = None


@dataclass(kw_only=True)
class StreamCaches:
    """The states that a plan carries, and what it does with frames by them.

    With `has_end`, a stream goes on past the end of its sequence: what is padded there is masked by each row's length.
    """

    axes: StreamAxes
    names: CacheNames
    has_end: bool
    reader: Node | None = None
    """The node that is planned, after which a cache is called."""
    specs: list[CacheSpec] = field(default_factory=list)
    needs_position: bool = False
    needs_end: bool = False
    met_end: bool = False
    """Whether anything depends on where the sequence ends."""
    shortest: int = 0
    """The least frames of the inputs that a sequence may have."""

    def delayed(self, value: Operand, by: int) -> Operand:
        """The same frames `by` frames later."""
        if by == 0 or value.time.is_flat:
            return replace(value, time=replace(value.time, lag=value.time.lag + by))
        joined, rate, axis = self.joined(value, by), value.time.rate, value.time.axis

        def step(run: StreamRun) -> Tensor:
            return joined(run).narrow(axis, 0, run.count(rate))

        return replace(value, time=replace(value.time, lag=value.time.lag + by), step=step)

    def first_frame(self, value: Operand) -> Step:
        """The first frame of each row's sequence, which does not lag; it is kept for all calls."""
        self.needs_position = True
        spec = self.overlap(value, 1)

        def first(run: StreamRun) -> Tensor:
            own = value.step(run).narrow(value.time.axis, 0, 1)
            assert run.position is not None
            begins = self.beside((run.position == 0).unsqueeze(1), value)
            run.following[spec.name] = found = torch.where(begins, own, run.caches[spec.name])
            return found

        return first

    def settled(self, value: Operand) -> Operand:
        """The same frames, none of which the whole sequence has before the stream's first."""
        return self.delayed(value, max(0, -value.time.lag))

    def padded(self, value: Operand, before: int, after: int, fill: float) -> Operand:
        """`fill` in front of the whole sequence and behind it."""
        if value.time.lag < 0 and (value.time.fill != fill or value.edge) and before:
            value = self.settled(value)
        lag = value.time.lag
        if before > 0 and lag > 0:
            value = self.filled_before(value, fill)
        if after > 0:
            value = self.filled_after(value, fill)
        time = replace(value.time, lag=lag - before, whole=value.time.whole + before + after, fill=fill)
        return replace(value, time=time)

    def filled_before(self, value: Operand, fill: float) -> Operand:
        """`fill` in place of the frames that come before the whole sequence's first."""
        if value.time.lag <= 0:
            return value
        self.needs_position = True
        time, step = value.time, value.step

        def masked(run: StreamRun) -> Tensor:
            outside = run.indices(time.rate, run.count(time.rate)) < time.lag
            found: Tensor = step(run).masked_fill(self.beside(outside, value), fill)
            return found

        return replace(value, step=masked)

    def filled_after(self, value: Operand, fill: float) -> Operand:
        """`fill` in place of the frames that come after the whole sequence's last."""
        self.met_end = True
        if not self.has_end:
            return value
        self.needs_position = self.needs_end = True
        time, step = value.time, value.step

        def masked(run: StreamRun) -> Tensor:
            outside = run.indices(time.rate, run.count(time.rate)) >= self.ends(run, time).unsqueeze(1)
            found: Tensor = step(run).masked_fill(self.beside(outside, value), fill)
            return found

        return replace(value, step=masked)

    def ends(self, run: StreamRun, time: Timeline) -> Tensor:
        """The number `(B)` in the stream of the first frame after each row's whole sequence."""
        return tensor_size_in(time.whole, self.axes.time, run.length()) + time.lag

    def windows(self, value: Operand, reach: int, stride: int) -> Operand:
        """Frames from which an operator over `reach` frames, every `stride`, gives those of one call and no more.

        The timeline is of what the operator gives.
        """
        lag = math.ceil(Fraction(reach - stride + value.time.lag, stride))
        if lag < 0:  # the whole would begin with frames made of `fill` alone
            value, lag = self.delayed(value, -lag * stride), 0
        time = value.time
        before = stride * lag - time.lag
        rate = time.rate / stride
        joined = self.joined(value, max(0, before))

        def step(run: StreamRun) -> Tensor:
            frames = joined(run)
            size = stride * (run.count(rate) - 1) + reach
            if before == reach - stride:
                return frames  # as long as the windows reach
            return frames.narrow(time.axis, max(0, -before), size)

        whole = (time.whole - reach) // stride + 1
        return replace(value, time=replace(time, rate=rate, lag=lag, whole=whole, fill=0.0), step=step, edge=None)

    def joined(self, value: Operand, count: int) -> Callable[[StreamRun], Tensor]:
        """The last `count` frames of the calls before in front of this call's."""
        if count == 0:
            return value.step
        time, own = value.time, value.step
        if time.is_joined:
            raise refused(value.node, "looks along time where a reshape has joined it with other axes")
        spec = self._spec(value, count)
        self.specs.append(spec)
        fill, edge = time.fill if time.lag < 0 else 0.0, value.edge if time.lag < 0 else None
        if fill or edge:
            self.needs_position = True
        axis, rows = time.axis, self._rows(value)

        def step(run: StreamRun) -> Tensor:
            earlier = run.caches[spec.name]
            if rows > 1:
                earlier = earlier.flatten(spec.batch or 0, (spec.batch or 0) + 1)
            frames = torch.cat([earlier, own(run)], axis)
            kept = frames.narrow(axis, run.count(time.rate), count)
            run.following[spec.name] = torch.unflatten(kept, spec.batch or 0, (run.batch, rows)) if rows > 1 else kept
            if not fill and edge is None:
                return frames
            outside = run.indices(time.rate, count + run.count(time.rate), before=count) < 0
            if edge is not None:
                return torch.where(self.beside(outside, value), edge(run), frames)
            return frames.masked_fill(self.beside(outside, value), fill)

        return step

    def totalled(self, value: Operand) -> tuple[CacheSpec, Callable[[StreamRun], Tensor]]:
        """A state of one frame, and what reads it; the value's step sets the next."""
        spec = self.overlap(value, 1)
        return spec, lambda run: run.caches[spec.name]

    def overlap(self, value: Operand, count: int) -> CacheSpec:
        """A state of `count` frames, which the step of the value reads and sets itself."""
        spec = self._spec(value, count)
        self.specs.append(spec)
        return spec

    def _spec(self, value: Operand, count: int) -> CacheSpec:
        time, batch = value.time, self.axes.batch_axis(value.shape)
        shape: list[int] = []
        for axis, size in enumerate(value.shape):
            if axis == time.axis:
                shape.append(count)
            elif axis == batch:
                rows = self._rows(value)
                shape += [1] if rows == 1 else [1, rows]
            elif expression_of(size).is_Integer:
                shape.append(int(size))
            else:
                raise refused(
                    value.node, f"looks along time in {tuple(map(str, value.shape))}, of which a size is free"
                )
        own = value.node.meta["val"]
        dtype = (own[0] if isinstance(own, list | tuple) else own).dtype
        return CacheSpec(name=self.names.of(self.reader or value.node), shape=tuple(shape), batch=batch, dtype=dtype)

    def _rows(self, value: Operand) -> int:
        batch = self.axes.batch_axis(value.shape)
        return 1 if batch is None else self.axes.rows_of(value.shape[batch])

    def beside(self, mask: Tensor, value: Operand) -> Tensor:
        """A mask `(B, frames)` beside a value's axes."""
        batch, time = self.axes.batch_axis(value.shape), value.time.axis
        if value.time.is_joined:
            raise refused(value.node, "pads or lags where a reshape has joined time with other axes")
        if batch is not None and self._rows(value) > 1:
            mask = mask.repeat_interleave(self._rows(value), 0)
        turned = mask if batch is None or batch < time else mask.transpose(0, 1)
        if batch is None:
            turned = mask.squeeze(0)
        for axis in range(len(value.shape)):
            if axis not in (batch, time):
                turned = turned.unsqueeze(axis)
        return turned


def refused(node: Node, reason: str, what: str = "") -> StreamingError:
    """The refusal of a model that cannot stream for what a node does; `what` is what it stands for."""
    return StreamingError(
        f"stateful, {line_of_node(node.meta)}",
        got=f"{what or name_of(node)}, which {reason}",
        expected="operators that need a bounded number of frames",
        remedy="write this line so that a frame depends on a bounded number of others, or export with "
        "stateful='recurrent' (--stateful=recurrent), which carries the states of recurrent layers alone",
    )


def name_of(node: Node) -> str:
    """An operator's name as PyTorch has it."""
    return str(getattr(node.target, "__name__", node.target)).split(".")[0]
