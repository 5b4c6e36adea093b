"""Reshapes and fills of a stream: their sizes are those of a chunk, and not of the whole sequence."""

from dataclasses import replace
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch.fx import Node

from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.streams.fills import number_of_fill
from rnnx.tracing.streams.operands import refused
from rnnx.tracing.streams.stream_plan import StreamPlan
from rnnx.tracing.streams.stream_run import StreamRun, size_in
from rnnx.tracing.streams.timelines import Timeline

RESHAPES = frozenset(("view", "reshape", "_unsafe_view", "flatten", "unflatten", "view_copy"))


def add_reshape_rule(plan: StreamPlan, node: Node) -> None:
    """A reshape that keeps the frames together, joins them with other axes, or stacks some of them to one."""
    (given,) = plan.timed(node)
    before, after = given.meta["val"].shape, node.meta["val"].shape
    axis = plan.time_axis(node)
    value = plan.settled(given)
    size = expression_of(after[axis])
    ratio = sympy.cancel(size / value.time.whole)
    inner_before, inner_after = _product(before[value.time.axis + 1 :]), _product(after[axis + 1 :])
    step = sympy.cancel(inner_after / inner_before)
    if step == 1 and plan.axes.time not in ratio.free_symbols:
        time = replace(value.time, axis=axis, rows=ratio)
    elif step.is_Integer and size == value.time.whole // step:
        lag = -(-value.time.lag // int(step)) * int(step)
        value = plan.delayed(given, lag - plan.times[given].lag)
        time = replace(value.time, axis=axis, rate=value.time.rate / int(step), lag=lag // int(step), whole=size)
    elif sympy.cancel(step * ratio) == 1 and ratio.is_Integer:
        count = int(ratio)
        time = replace(value.time, axis=axis, rate=value.time.rate * count, lag=value.time.lag * count, whole=size)
    elif plan.axes.time not in ratio.free_symbols and sympy.cancel(step * ratio / value.time.rows) == 1:
        time = replace(value.time, axis=axis, rows=ratio)
    else:
        raise refused(node, "reshapes time into other axes")

    def reshaped(run: StreamRun) -> Any:
        return value.step(run).reshape(_sizes_of(after, time, run))

    plan.times[node], plan.steps[node] = time, reshaped


def add_expand_rule(plan: StreamPlan, node: Node) -> None:
    """A value repeated along axes, time among them or not."""
    shape: Any = node.meta["val"].shape
    axis = plan.time_axis(node)
    timed = list(plan.timed(node))
    own: Any = node.args[0]
    if timed:
        value = plan.operand(timed[0])
        time = replace(value.time, axis=axis)
        step = value.step
    else:
        whole = expression_of(shape[axis])
        time = Timeline(axis=axis, rate=plan.rate_of(node, whole), whole=whole, is_flat=True)
        step = lambda run: run.own(own)  # noqa: E731
    plan.times[node] = time
    plan.steps[node] = lambda run: step(run).expand(_sizes_of(shape, time, run))


def add_plain_fill_rule(plan: StreamPlan, node: Node) -> None:
    """A tensor of one number without an axis of time, of the shape of what no stream can give."""
    shape: Any = node.meta["val"].shape
    number, dtype = _number(node), node.meta["val"].dtype
    plan.steps[node] = lambda run: torch.full(
        [size_in(expression_of(own), run.sizes) for own in shape],
        number,
        dtype=run.dtype if dtype.is_floating_point else dtype,
    )


def _number(node: Node) -> bool | int | float:
    number = number_of_fill(node)
    if number is None:
        raise refused(node, "is filled with a computed number")
    return number


def add_fill_rule(plan: StreamPlan, node: Node) -> None:
    """A tensor of one number with an axis of time."""
    shape: Any = node.meta["val"].shape
    axis = plan.time_axis(node)
    whole = expression_of(shape[axis])
    number, dtype = _number(node), node.meta["val"].dtype
    time = Timeline(axis=axis, rate=plan.rate_of(node, whole), whole=whole, is_flat=True, fill=float(number))

    def filled(run: StreamRun) -> Any:
        floats = run.dtype if dtype.is_floating_point else dtype
        return torch.full(_sizes_of(shape, time, run), number, dtype=floats)

    plan.times[node], plan.steps[node] = time, filled


def _product(sizes: Any) -> Any:
    return sympy.Mul(*(expression_of(own) for own in sizes)) if sizes else sympy.Integer(1)


def _sizes_of(shape: Any, time: Timeline, run: StreamRun) -> list[Any]:
    """A traced shape in this call."""
    sizes = []
    for axis, own in enumerate(shape):
        expression = time.rows if axis == time.axis else expression_of(own)
        size = size_in(expression, run.sizes)
        sizes.append(size * run.count(time.rate) if axis == time.axis else size)
    return sizes
