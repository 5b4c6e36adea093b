"""Parts of a sequence: all but its first frames, every second one, its last frame."""

from dataclasses import replace
from typing import Any

from torch.fx import Node

from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.streams.operands import Operand, refused
from rnnx.tracing.streams.operator_calls import arguments_of
from rnnx.tracing.streams.stream_plan import StreamPlan

LAST = 2**62
"""What PyTorch writes for an end that is none is larger."""


def cut(value: Operand, first: int, whole: Any) -> Operand:
    """The sequence without its first frames; the stream gives them, and they come before the whole."""
    time = replace(value.time, lag=value.time.lag + first, whole=whole)
    if value.time.lag < 0 <= time.lag:
        time = replace(time, fill=0.0)
    return replace(value, time=time)


def add_slice_rule(plan: StreamPlan, node: Node) -> None:
    """A slice along time by fixed numbers."""
    given = arguments_of(node)
    own, start, stride = given["self"], given.get("start") or 0, given.get("step") or 1
    whole = expression_of(node.meta["val"].shape[plan.times[own].axis])
    if not isinstance(start, int) or start < 0:
        raise refused(node, "takes the end of the sequence")
    if plan.axes.time not in whole.free_symbols:
        raise refused(node, "takes a part of the sequence")
    end = given.get("end")
    if isinstance(end, int) and 0 <= end < LAST:
        raise refused(node, "takes a part of the sequence")
    value = cut(plan.operand(own), start, whole)
    if stride != 1:
        value = plan.caches.windows(value, 1, stride)
        axis, step = value.time.axis, value.step
        value = replace(value, step=lambda run: step(run)[(slice(None),) * axis + (slice(None, None, stride),)])
        value = replace(value, time=replace(value.time, whole=whole))
    plan.give(node, value)


def add_select_rule(plan: StreamPlan, node: Node) -> None:
    """The last frame; any other is a part of the sequence."""
    given = arguments_of(node)
    time = plan.times[given["self"]]
    if given["index"] != -1:
        raise refused(node, "takes one frame of the sequence")
    if time.lag or plan.caches.has_end:
        raise refused(node, "takes the last frame, which comes late: take the layer's hn instead")
    plan.caches.met_end = True
    plan.lasts[node] = time
    value = plan.operand(given["self"])
    plan.steps[node] = lambda run: value.step(run).select(time.axis, -1)
