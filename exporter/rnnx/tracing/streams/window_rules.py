"""Operators over several frames: convolutions, transposed ones, pooling, unfolding."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.nn import functional

from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.streams.operands import Operand, name_of, refused
from rnnx.tracing.streams.operator_calls import add_settled, arguments_of, each
from rnnx.tracing.streams.stream_plan import StreamPlan
from rnnx.tracing.streams.stream_run import StreamRun


def add_window_rule(plan: StreamPlan, node: Node) -> None:
    """Convolutions, pooling and unfolding along time."""
    name, given = name_of(node), arguments_of(node)
    own: Any = given.get("input", given.get("self"))
    time, rank = plan.times[own], len(own.meta["val"].shape)
    if name == "unfold":
        _add_unfold(plan, node, given)
        return
    spatial = 1 if "1d" in name else 2 if "2d" in name else 3
    place = time.axis - (rank - spatial)
    if place == -1 and "pool" not in name and rank > spatial:
        raise refused(node, "mixes time as channels")
    if place < 0:
        add_settled(plan, node, own)
        return
    if "conv" in name:
        kernel = [int(size) for size in given["weight"].meta["val"].shape[2:]]
    else:
        kernel = each(given["kernel_size"], spatial)
    stride = each(given.get("stride") or kernel, spatial)
    dilation = each(given.get("dilation", 1), spatial)
    padding: Any = given.get("padding", 0)
    if padding == "same":
        total = dilation[place] * (kernel[place] - 1)
        sides = (total // 2, total - total // 2)
        others = None
    else:
        others = [0] * spatial if padding == "valid" else each(padding, spatial)
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
            x = functional.pad(x, [side for total in reversed(totals) for side in (total // 2, total - total // 2)])
        arguments["padding"] = "valid" if isinstance(padding, str) else others
        return target(x, **arguments)

    whole = expression_of(node.meta["val"].shape[plan.time_axis(node)])
    plan.give(node, replace(found, time=replace(found.time, whole=whole, axis=plan.time_axis(node)), step=step))


def _add_unfold(plan: StreamPlan, node: Node, given: dict[str, Any]) -> None:
    own = given["self"]
    time, rank = plan.times[own], len(own.meta["val"].shape)
    dim, size, stride = int(given["dimension"]) % rank, int(given["size"]), int(given["step"])
    if dim != time.axis:
        add_settled(plan, node, own)
        return
    found = plan.caches.windows(plan.operand(own), size, stride)
    frames = found.step
    plan.give(node, replace(found, step=lambda run: frames(run).unfold(dim, size, stride)))


def add_transform_rule(plan: StreamPlan, node: Node) -> None:
    """`torch.stft` over samples, which are padded before it where it centres its frames."""
    given = arguments_of(node)
    own, size = given["self"], int(given["n_fft"])
    if given.get("center"):
        raise refused(node, "centres its frames inside of the operator")
    found = plan.caches.windows(plan.operand(own), size, int(given.get("hop_length") or size // 4))
    frames, whole = found.step, expression_of(node.meta["val"].shape[plan.time_axis(node)])
    plan.give(
        node,
        replace(
            found,
            time=replace(found.time, whole=whole, axis=plan.time_axis(node)),
            step=lambda run: run.beside({own: frames(run)}).called(node),
        ),
    )


def add_transposed_rule(plan: StreamPlan, node: Node) -> None:
    """Transposed convolutions: what reaches into the next call is added there."""
    name, given = name_of(node), arguments_of(node)
    own: Any = given["input"]
    rank, spatial = len(own.meta["val"].shape), 1 if "1d" in name else 2
    place = plan.times[own].axis - (rank - spatial)
    if place < 0:
        add_settled(plan, node, own)
        return
    kernel = [int(size) for size in given["weight"].meta["val"].shape[2:]]
    stride, padding = each(given["stride"], spatial), each(given["padding"], spatial)
    dilation = each(given["dilation"], spatial)
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
    out_padding = each(given.get("output_padding", 0), spatial)
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


def _filled_up(full: Tensor, axis: int, count: Any, missing: int) -> Tensor:
    """Zeros behind the last frame where the stride is longer than the kernel."""
    if missing <= 0:
        return full
    pads = [0, 0] * (full.dim() - 1 - axis) + [0, missing]
    return functional.pad(full, pads)
