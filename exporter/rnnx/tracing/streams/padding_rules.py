"""Frames in front of a sequence and behind it: paddings, and constant frames beside it in a cat."""

from dataclasses import replace
from typing import Any

from torch.fx import Node
from torch.nn import functional

from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.streams.edge_rules import edge_padded
from rnnx.tracing.streams.fills import fill_of
from rnnx.tracing.streams.operands import name_of, refused
from rnnx.tracing.streams.operator_calls import arguments_of
from rnnx.tracing.streams.slice_rules import cut
from rnnx.tracing.streams.stream_plan import StreamPlan


def add_pad_rule(plan: StreamPlan, node: Node) -> None:
    """`F.pad` along time and along other axes."""
    given = arguments_of(node)
    own: Any = given["self"]
    name, rank = name_of(node), len(node.meta["val"].shape)
    mode = (
        given.get("mode", "constant")
        if name == "pad"
        else {"constant_pad_nd": "constant"}.get(name, name.split("_")[0])
    )
    mode = {"replication": "replicate", "reflection": "reflect"}.get(mode, mode)
    fill = given.get("value")
    pads: list[Any] = list(given.get("pad") or given.get("padding") or [])
    axis, place = plan.times[own].axis, 2 * (rank - 1 - plan.times[own].axis)
    before, after = (pads[place], pads[place + 1]) if place < len(pads) else (0, 0)
    if not (isinstance(before, int) and isinstance(after, int)):
        raise refused(node, "pads by a number that depends on the sequence")
    if place < len(pads):
        pads[place] = pads[place + 1] = 0
    value = plan.operand(own)
    others = any(isinstance(pad, Node) or pad for pad in pads)
    if others and value.time.lag < 0:
        value = plan.settled(own)
    if (before or after) and mode != "constant":
        value = edge_padded(plan, node, own, before, after, mode)
    elif before < 0 or after < 0:
        value = cut(value, -min(before, 0), expression_of(node.meta["val"].shape[axis]))
        before, after = max(before, 0), max(after, 0)
        value = plan.caches.padded(value, before, after, float(fill or 0))
    elif before or after:
        value = plan.caches.padded(value, before, after, float(fill or 0))
    if others:
        step = value.step
        value = replace(value, step=lambda run: functional.pad(step(run), run.own(pads), mode, fill))
    plan.give(node, value)
    if value.edge is not None:
        plan.edges[node] = value.edge


def add_cat_rule(plan: StreamPlan, node: Node) -> None:
    """Constant frames in front of a sequence or behind it are a padding."""
    parts: Any = node.args[0]
    timed = [own for own in parts if own in plan.times and not plan.times[own].is_flat]
    if len(timed) != 1:
        raise refused(node, "puts sequences behind each other")
    place = parts.index(timed[0])
    axis = plan.times[timed[0]].axis
    sizes = [own.meta["val"].shape[axis] for own in parts]
    fills = [fill_of(own) for own in parts if own is not timed[0]]
    if None in fills or any(
        not isinstance(size, int) for own, size in zip(parts, sizes, strict=True) if own is not timed[0]
    ):
        raise refused(node, "puts frames behind each other that are not constant")
    value = plan.operand(timed[0])
    for number in (place - 1, place + 1):
        if 0 <= number < len(parts):
            before, after = (sizes[number], 0) if number < place else (0, sizes[number])
            value = plan.caches.padded(value, before, after, float(fill_of(parts[number]) or 0))
    if len(parts) > 3 or (len(parts) == 3 and place != 1):
        raise refused(node, "puts several sequences behind each other")
    plan.give(node, value)
