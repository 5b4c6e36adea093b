"""Operators that look along time: they get the frames that they need of earlier calls."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node

from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.streams.operands import Operand, name_of, refused
from rnnx.tracing.streams.shape_rules import is_fill
from rnnx.tracing.streams.stream_plan import StreamPlan
from rnnx.tracing.streams.stream_run import StreamRun

LAST = 2**62
"""What PyTorch writes for an end that is none is larger."""


def _arguments(node: Node) -> dict[str, Any]:
    """The arguments of an operator by name, those left out as its schema has them."""
    schema: Any = node.target._schema  # type: ignore[union-attr]
    given = {own.name: own.default_value for own in schema.arguments if own.has_default_value()}
    given |= {own.name: value for own, value in zip(schema.arguments, node.args, strict=False)}
    return {**given, **node.kwargs}


def _each(value: Any, count: int) -> list[int]:
    values = [value] * count if isinstance(value, int) else list(value)
    return [int(own) for own in (values * count if len(values) == 1 and count > 1 else values)]


def add_pad_rule(plan: StreamPlan, node: Node) -> None:
    """`F.pad` along time and along other axes."""
    given = _arguments(node)
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
        value = _edge_padded(plan, node, value, before, after, mode)
    elif before < 0 or after < 0:
        value = _cut(value, -min(before, 0), after < 0, expression_of(node.meta["val"].shape[axis]))
        before, after = max(before, 0), max(after, 0)
        value = plan.caches.padded(value, before, after, float(fill or 0))
    elif before or after:
        value = plan.caches.padded(value, before, after, float(fill or 0))
    if others:
        step = value.step
        value = replace(value, step=lambda run: F.pad(step(run), run.own(pads), mode, fill))
    plan.give(node, value)
    if value.edge is not None:
        plan.edges[node] = value.edge


def _edge_padded(plan: StreamPlan, node: Node, value: Operand, before: int, after: int, mode: str) -> Operand:
    """Copies of the first frame in front of the sequence."""
    if mode != "replicate" or after or value.time.lag != 0:
        raise refused(node, f"pads time by the mode {mode!r}{' behind its end' if after else ''}")
    time = replace(value.time, lag=-before, whole=value.time.whole + before)
    return replace(value, time=time, edge=plan.caches.first_frame(value))


def _cut(value: Operand, first: int, is_shorter: bool, whole: Any) -> Operand:
    """The sequence without its first frames; the stream gives them, and they come before the whole."""
    time = replace(value.time, lag=value.time.lag + first, whole=whole)
    if value.time.lag < 0 <= time.lag:
        time = replace(time, fill=0.0)
    _ = is_shorter
    return replace(value, time=time)


def add_slice_rule(plan: StreamPlan, node: Node) -> None:
    """A slice along time by fixed numbers."""
    given = _arguments(node)
    own, start, stride = given["self"], given.get("start") or 0, given.get("step") or 1
    whole = expression_of(node.meta["val"].shape[plan.times[own].axis])
    if not isinstance(start, int) or start < 0:
        raise refused(node, "takes the end of the sequence")
    if plan.axes.time not in whole.free_symbols:
        raise refused(node, "takes a part of the sequence")
    end = given.get("end")
    if isinstance(end, int) and 0 <= end < LAST:
        raise refused(node, "takes a part of the sequence")
    value = _cut(plan.operand(own), start, end is not None, whole)
    if stride != 1:
        value = plan.caches.windows(value, 1, stride)
        axis, step, rate = value.time.axis, value.step, value.time.rate
        value = replace(value, step=lambda run: step(run)[(slice(None),) * axis + (slice(None, None, stride),)])
        value = replace(value, time=replace(value.time, whole=whole))
    plan.give(node, value)


def add_select_rule(plan: StreamPlan, node: Node) -> None:
    """The last frame; any other is a part of the sequence."""
    given = _arguments(node)
    time = plan.times[given["self"]]
    if given["index"] != -1:
        raise refused(node, "takes one frame of the sequence")
    if time.lag or plan.caches.has_end:
        raise refused(node, "takes the last frame, which comes late: take the layer's hn instead")
    plan.lasts[node] = time
    value = plan.operand(given["self"])
    plan.steps[node] = lambda run: value.step(run).select(time.axis, -1)


def add_cat_rule(plan: StreamPlan, node: Node) -> None:
    """Constant frames in front of a sequence or behind it are a padding."""
    parts: Any = node.args[0]
    timed = [own for own in parts if own in plan.times and not plan.times[own].is_flat]
    if len(timed) != 1:
        raise refused(node, "puts sequences behind each other")
    place = parts.index(timed[0])
    axis = plan.times[timed[0]].axis
    sizes = [own.meta["val"].shape[axis] for own in parts]
    fills = [_fill_of(own) for own in parts if own is not timed[0]]
    if None in fills or any(
        not isinstance(size, int) for own, size in zip(parts, sizes, strict=True) if own is not timed[0]
    ):
        raise refused(node, "puts frames behind each other that are not constant")
    value = plan.operand(timed[0])
    for number, size in ((place - 1, 0), (place + 1, 0)):
        _ = size
        if 0 <= number < len(parts):
            sides = (sizes[number], 0) if number < place else (0, sizes[number])
            value = plan.caches.padded(value, *sides, float(_fill_of(parts[number]) or 0))
    if len(parts) > 3 or (len(parts) == 3 and place != 1):
        raise refused(node, "puts several sequences behind each other")
    plan.give(node, value)


def _fill_of(node: Node) -> float | None:
    """The number that a node's tensor is filled with, through what only moves it."""
    while name_of(node) in ("expand", "unsqueeze", "transpose", "permute", "to", "clone"):
        inner: Any = node.args[0]
        node = inner
    if not is_fill(node):
        return None
    place = {"full": 1, "new_full": 2, "full_like": 1}.get(name_of(node))
    number = node.args[place] if place is not None else 1.0 if "ones" in name_of(node) else 0.0
    return float(number) if isinstance(number, bool | int | float) else None


def add_window_rule(plan: StreamPlan, node: Node) -> None:
    """Convolutions, pooling and unfolding along time."""
    name, given = name_of(node), _arguments(node)
    own: Any = given.get("input", given.get("self"))
    time, rank = plan.times[own], len(own.meta["val"].shape)
    if name == "unfold":
        return _add_unfold(plan, node, given)
    spatial = 1 if "1d" in name else 2 if "2d" in name else 3
    place = time.axis - (rank - spatial)
    if place == -1 and "pool" not in name and rank > spatial:
        raise refused(node, "mixes time as channels")
    if place < 0:
        plan.times[node] = replace(plan.settled(own).time, axis=plan.time_axis(node))
        return _call_settled(plan, node, own)
    if "conv" in name:
        kernel = [int(size) for size in given["weight"].meta["val"].shape[2:]]
    else:
        kernel = _each(given["kernel_size"], spatial)
    stride = _each(given.get("stride") or kernel, spatial)
    dilation = _each(given.get("dilation", 1), spatial)
    padding: Any = given.get("padding", 0)
    if padding == "same":
        total = dilation[place] * (kernel[place] - 1)
        sides = (total // 2, total - total // 2)
        others = None
    else:
        others = [0] * spatial if padding == "valid" else _each(padding, spatial)
        sides = (others[place], others[place])
        others[place] = 0
    if given.get("ceil_mode") and stride[place] > 1:
        raise refused(node, "pools an incomplete window at the end (ceil_mode)")
    if "avg" in name and sides[0] and not given.get("count_include_pad", True):
        raise refused(node, "averages over fewer frames at the ends (count_include_pad)")
    fill = float("-inf") if "max" in name else 0.0
    value = plan.operand(own)
    if value.time.lag < 0 and (value.time.fill != fill or any(others or [])) and any(sides):
        value = plan.settled(own)
    value = plan.caches.padded(value, *sides, fill) if any(sides) else value
    reach = dilation[place] * (kernel[place] - 1) + 1
    found = plan.caches.windows(value, reach, stride[place])
    target: Any = node.target
    frames = found.step

    def step(run: StreamRun) -> Any:
        arguments = {key: run.own(own) for key, own in given.items() if key not in ("input", "self", "padding")}
        x = frames(run)
        if others is None:  # "same" along the other axes
            totals = [dilation[at] * (kernel[at] - 1) if at != place else 0 for at in range(spatial)]
            x = F.pad(x, [side for total in reversed(totals) for side in (total // 2, total - total // 2)])
        arguments["padding"] = [0] * spatial if others is None else others
        key = "input" if "input" in given else "self"
        return target(**{key: x}, **arguments)

    whole = expression_of(node.meta["val"].shape[plan.time_axis(node)])
    plan.give(node, replace(found, time=replace(found.time, whole=whole, axis=plan.time_axis(node)), step=step))


def _call_settled(plan: StreamPlan, node: Node, own: Node) -> None:
    value = plan.settled(own)
    target: Any = node.target

    def step(run: StreamRun) -> Any:
        moved = run.beside({own: value.step(run)})
        return target(*moved.own(tuple(node.args)), **{key: moved.own(one) for key, one in node.kwargs.items()})

    plan.steps[node] = step


def _add_unfold(plan: StreamPlan, node: Node, given: dict[str, Any]) -> None:
    own = given["self"]
    time, rank = plan.times[own], len(own.meta["val"].shape)
    dim, size, stride = int(given["dimension"]) % rank, int(given["size"]), int(given["step"])
    if dim != time.axis:
        plan.times[node] = replace(plan.settled(own).time, axis=plan.time_axis(node))
        return _call_settled(plan, node, own)
    found = plan.caches.windows(plan.operand(own), size, stride)
    frames = found.step
    plan.give(node, replace(found, step=lambda run: frames(run).unfold(dim, size, stride)))
    return None


def add_transposed_rule(plan: StreamPlan, node: Node) -> None:
    """Transposed convolutions: what reaches into the next call is added there."""
    name, given = name_of(node), _arguments(node)
    own: Any = given["input"]
    rank, spatial = len(own.meta["val"].shape), 1 if "1d" in name else 2
    place = plan.times[own].axis - (rank - spatial)
    if place < 0:
        plan.times[node] = replace(plan.settled(own).time, axis=plan.time_axis(node))
        return _call_settled(plan, node, own)
    kernel = [int(size) for size in given["weight"].meta["val"].shape[2:]]
    stride, padding = _each(given["stride"], spatial), _each(given["padding"], spatial)
    dilation = _each(given["dilation"], spatial)
    reach = dilation[place] * (kernel[place] - 1) + 1
    value = plan.settled(own)
    lag = value.time.lag
    value = plan.caches.filled_before(value, 0.0)
    value = plan.caches.filled_after(value, 0.0)
    rate, cut = value.time.rate * stride[place], padding[place]
    axis, overlap = value.time.axis, max(0, reach - stride[place])
    whole = expression_of(node.meta["val"].shape[plan.time_axis(node)])
    time = replace(
        value.time, rate=rate, lag=lag * stride[place] + cut, whole=whole, fill=0.0, axis=plan.time_axis(node)
    )
    others, target = [*padding], node.target
    others[place] = 0
    out_padding = _each(given.get("output_padding", 0), spatial)
    out_padding[place] = 0
    tail = Operand(node=node, time=time, shape=tuple(node.meta["val"].shape), step=value.step)
    spec = plan.caches.overlap(tail, overlap) if overlap else None

    def step(run: StreamRun) -> Any:
        arguments = {key: run.own(one) for key, one in given.items() if key not in ("input", "bias")}
        arguments |= {"padding": others, "output_padding": out_padding}
        full = target(input=value.step(run), bias=None, **arguments)  # type: ignore[operator]
        count = run.count(rate)
        if spec is not None:
            joined = full.narrow(axis, 0, overlap) + run.caches[spec.name]
            full = torch.cat([joined, full.narrow(axis, overlap, count - stride[place] + reach - overlap)], axis)
            run.following[spec.name] = full.narrow(axis, count, overlap)
        found = (
            full.narrow(axis, 0, count) if spec is not None else _filled_up(full, axis, count, stride[place] - reach)
        )
        bias = run.own(given.get("bias"))
        return found if bias is None else found + bias.reshape(-1, *[1] * spatial)

    plan.times[node], plan.steps[node] = time, step
    return None


def _filled_up(full: Tensor, axis: int, count: Any, missing: int) -> Tensor:
    """Zeros behind the last frame where the stride is longer than the kernel."""
    if missing <= 0:
        return full
    pads = [0, 0] * (full.dim() - 1 - axis) + [0, missing]
    return F.pad(full, pads)


def add_sum_rule(plan: StreamPlan, node: Node) -> None:
    """A cumulative sum goes on from the one before."""
    own: Any = node.args[0]
    value = plan.settled(own)
    axis, rank = value.time.axis, len(own.meta["val"].shape)
    if int(_arguments(node)["dim"]) % rank != axis:
        plan.times[node] = replace(value.time, axis=plan.time_axis(node))
        return _call_settled(plan, node, own)
    value = plan.caches.filled_before(value, 0.0)
    spec, before = plan.caches.totalled(replace(value, node=node))

    def step(run: StreamRun) -> Tensor:
        found = torch.cumsum(value.step(run), axis) + before(run)
        run.following[spec.name] = found.narrow(axis, run.count(value.time.rate) - 1, 1)
        return found

    plan.give(node, replace(value, step=step))
    return None


def add_difference_rule(plan: StreamPlan, node: Node) -> None:
    """Differences of frames behind each other."""
    given = _arguments(node)
    own, count = given["self"], int(given.get("n") or 1)
    axis, rank = plan.times[own].axis, len(own.meta["val"].shape)
    if int(given["dim"]) % rank != axis:
        plan.times[node] = replace(plan.settled(own).time, axis=plan.time_axis(node))
        return _call_settled(plan, node, own)
    if given.get("prepend") is not None or given.get("append") is not None:
        raise refused(node, "puts other frames in front (prepend, append)")
    found = plan.caches.windows(plan.operand(own), count + 1, 1)
    frames = found.step
    plan.give(node, replace(found, step=lambda run: torch.diff(frames(run), count, axis)))
    return None


RULES: dict[str, Callable[[StreamPlan, Node], None]] = {
    **dict.fromkeys(
        ("pad", "constant_pad_nd", "replication_pad1d", "reflection_pad1d", "reflection_pad2d", "replication_pad2d"),
        add_pad_rule,
    ),
    **dict.fromkeys(
        ("conv1d", "conv2d", "conv3d", "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "unfold"),
        add_window_rule,
    ),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), add_transposed_rule),
    "cumsum": add_sum_rule,
    "diff": add_difference_rule,
}
"""Operators that may look along time, whatever their arguments say."""
