"""Recurrent layers in a stream: they go on from their states, and stand still where frames are none of the sequence's.

A layer whose frames lag would run over those that come before the sequence begins. They are turned behind the others
in each row, and the lengths of the layer leave them out.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from rnnx.tracing.opaque_layers import DOMAIN
from rnnx.tracing.recurrence_nodes import attribute_of, is_over_time
from rnnx.tracing.streams.operands import Operand, refused
from rnnx.tracing.streams.stream_plan import StreamPlan
from rnnx.tracing.streams.stream_run import StreamRun


def is_layer(node: Node) -> bool:
    """Whether a node stands for a recurrent layer."""
    return node.kwargs.get("domain") == DOMAIN


def add_layer_rule(plan: StreamPlan, node: Node) -> None:
    """A recurrent layer over the frames of a call."""
    tensors: Any = node.args[0]
    x, states, lengths = tensors[0], tensors[1:3], tensors[3]
    own = x.meta["val"].shape
    batch_first = bool(attribute_of(node, "batch_first"))
    name = str(attribute_of(node, "layer"))
    what = f"the layer {name!r}"
    if x not in plan.times:
        raise refused(node, "takes no frames", what)
    if any(state in plan.times for state in states if state is not None):
        raise refused(node, "has frames for a state", what)
    if is_over_time(node):
        if attribute_of(node, "reverse"):
            raise refused(node, "goes backwards in time", what)
    elif getattr(plan.module.get_submodule(name), "bidirectional", False):
        raise refused(node, "goes backwards in time too", f"the bidirectional layer {name!r}")
    value = plan.settled(x)
    if value.time.axis != (1 if batch_first else 0) or len(own) != 3:
        raise refused(node, "does not run over the axis of time", what)
    listed = node.meta["val"]
    plan.times[node] = replace(value.time, axis=plan.time_axis(node, listed[0].shape), fill=0.0)
    ends = plan.shows_last(node, 1)
    plan.caches.met_end = plan.caches.met_end or ends
    ends = ends and plan.caches.has_end
    if value.time.lag == 0 and not ends:
        plan.steps[node] = lambda run: run.layer(node, [value.step(run), *run.own(list(tensors[1:]))])
        return
    if lengths is not None:
        raise refused(node, "has lengths, and frames that lag", what)
    if is_over_time(node) or not states[0]:
        raise refused(node, "has its states in a loop, and frames that lag", what)
    plan.caches.needs_position = True
    plan.caches.needs_end = plan.caches.needs_end or ends
    plan.steps[node] = _held(plan, node, value, ends=ends)


def _held(plan: StreamPlan, node: Node, value: Operand, *, ends: bool) -> Any:
    time, axis = value.time, value.time.axis
    tensors: Any = node.args[0]
    batch = plan.axes.batch_axis(value.shape)
    rows = 1 if batch is None else plan.axes.rows_of(value.shape[batch])

    def step(run: StreamRun) -> list[Tensor]:
        x = value.step(run)
        count = _counted(run.count(time.rate))
        first = run.indices(time.rate, 1).squeeze(1)
        junk = torch.minimum((time.lag - first).clamp(min=0), count)
        kept = torch.minimum(plan.caches.ends(run, time) - first, count) if ends else count
        kept = (kept - junk).clamp(min=0)
        if rows > 1:
            junk, kept = junk.repeat_interleave(rows), kept.repeat_interleave(rows)
        states = run.own(list(tensors[1:3]))
        found = run.layer(node, [_turned(x, junk, axis), *states, kept.clamp(min=1)])
        output, *last = found
        stands = (kept == 0).unsqueeze(-1)
        output = output.masked_fill(stands.unsqueeze(1) if axis == 1 else stands.unsqueeze(0), 0.0)
        after = [torch.where(stands, own, new) for own, new in zip(states, last, strict=False)]
        return [_turned(output, -junk, axis), *after]

    return step


def _turned(x: Tensor, by: Tensor, axis: int) -> Tensor:
    """Frames of each row moved `by (B)` to the front, those in front to the end; `x` is `(B, T, …)` or `(T, B, …)`."""
    count = x.shape[axis]
    places = torch.remainder(torch.arange(count) + by.unsqueeze(1), _counted(count))
    places = (places if axis == 1 else places.transpose(0, 1)).unsqueeze(-1)
    return torch.gather(x, axis, places.expand(x.shape))


def _counted(count: Any) -> Tensor:
    """A size `(1)` as a tensor: an operator of a tensor and a size has no ONNX form."""
    return torch.arange(count)[-1:] + 1
