"""Numbers of frames, such as `torch.arange(T)`: a stream counts on, and each row from its own start.

What is computed of them has no axis of batch in the trace. In a stream it has one, in front, until it meets the rows.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.streams.operands import name_of, refused
from rnnx.tracing.streams.stream_plan import StreamPlan
from rnnx.tracing.streams.stream_run import StreamRun

_ELEMENTWISE = frozenset(
    (
        "add",
        "sub",
        "rsub",
        "mul",
        "div",
        "to",
        "_to_copy",
        "sin",
        "cos",
        "exp",
        "log",
        "log1p",
        "pow",
        "sqrt",
        "rsqrt",
        "neg",
        "reciprocal",
        "clamp",
        "clamp_min",
        "clamp_max",
        "remainder",
        "floor_divide",
        "clone",
        "detach",
        "contiguous",
        "embedding",
        "tanh",
        "sigmoid",
        "lt",
        "le",
        "gt",
        "ge",
        "eq",
        "ne",
        "alias",
        "abs",
        "floor",
        "minimum",
        "maximum",
        "logical_not",
    )
)
"""Operators to which an axis in front makes no difference."""


def add_count_rule(plan: StreamPlan, node: Node) -> None:
    """`torch.arange` over the frames."""
    numbers: Any = [own for own in node.args if not isinstance(own, torch.dtype)]
    start, step = (0, 1) if len(numbers) == 1 else (numbers[0], numbers[2] if len(numbers) > 2 else 1)
    if not all(isinstance(own, int | float) for own in (start, step)):
        raise refused(node, "counts frames from a number that depends on the sequence")
    value = node.meta["val"]
    whole = expression_of(value.shape[0])
    rate = plan.rate_of(node, whole)

    def counted(run: StreamRun, lag: int) -> Tensor:
        own = (run.indices(rate, run.count(rate)) - lag).clamp(min=0) * step + start
        return own.to(run.dtype if value.dtype.is_floating_point else value.dtype)

    plan.positions[node] = counted


def add_table_rule(plan: StreamPlan, node: Node) -> bool:
    """The first T rows of a table, such as of positional encodings; False where it is no such slice."""
    if name_of(node) not in ("slice", "narrow"):
        return False
    table, axis = node.args[0], int(node.args[1] if len(node.args) > 1 else 0)  # type: ignore[arg-type]
    start: Any = node.args[2] if len(node.args) > 2 else 0
    if not isinstance(start or 0, int) or plan.time_axis(node) != axis:
        return False
    rate = plan.rate_of(node, expression_of(node.meta["val"].shape[axis]))

    def looked_up(run: StreamRun, lag: int) -> Tensor:
        places = (run.indices(rate, run.count(rate)) - lag).clamp(min=0) + (start or 0)
        rows: Tensor = run.own(table).movedim(axis, 0)[places]
        return rows.movedim(1, axis + 1)

    plan.positions[node] = looked_up
    return True


def add_position_rule(plan: StreamPlan, node: Node) -> None:
    """What is computed of numbers of frames, alone or beside frames."""
    name = name_of(node)
    others = [own for own in node.all_input_nodes if own not in plan.positions]
    if any(_has_batch(plan, own) for own in others):
        raise refused(node, "puts numbers of frames beside values of each row")
    if name == "unsqueeze":
        dim = int(node.args[1])  # type: ignore[arg-type]
        plan.positions[node] = _moved(plan, node, lambda value: value.unsqueeze(dim + 1 if dim >= 0 else dim))
    elif name in ("view", "reshape", "expand"):
        shape = node.meta["val"].shape
        axis = plan.time_axis(node)
        if any(not expression_of(size).is_Integer for at, size in enumerate(shape) if at != axis):
            raise refused(node, "reshapes numbers of frames")
        sizes = [None if at == axis else int(size) for at, size in enumerate(shape)]

        def reshaped(value: Tensor) -> Tensor:
            count = value.shape[plan.time_axis(node.args[0]) + 1]  # type: ignore[arg-type]
            wanted = [value.shape[0], *(count if own is None else own for own in sizes)]
            return value.expand(wanted) if name == "expand" else value.reshape(wanted)

        plan.positions[node] = _moved(plan, node, reshaped)
    elif name == "slice" and _shape(node) == _shape(node.args[0]):
        plan.positions[node] = _moved(plan, node, lambda value: value)  # `[:, None]` takes all and adds an axis
    elif name in _ELEMENTWISE:
        plan.positions[node] = _computed(plan, node)
    else:
        raise refused(node, "takes numbers of frames in a way that no stream has")


def beside(value: Tensor, rank: int, batch: int | None) -> Tensor:
    """A value with its axis of batch in front, beside tensors of this rank whose batch is elsewhere."""
    for _ in range(rank - (value.dim() - 1)):
        value = value.unsqueeze(1)
    if batch is None:
        return value.squeeze(0)
    return value.squeeze(batch + 1).movedim(0, batch)


def _has_batch(plan: StreamPlan, node: Node) -> bool:
    shape = getattr(node.meta.get("val"), "shape", ())
    return plan.axes.batch_axis(shape) is not None


def _shape(node: Any) -> list[Any]:
    return list(map(expression_of, node.meta["val"].shape))


def _moved(plan: StreamPlan, node: Node, move: Callable[[Tensor], Tensor]) -> Callable[[StreamRun, int], Tensor]:
    own: Any = node.args[0]
    inner = plan.positions[own]
    return lambda run, lag: move(inner(run, lag))


def _computed(plan: StreamPlan, node: Node) -> Callable[[StreamRun, int], Tensor]:
    inner = {own: plan.positions[own] for own in node.all_input_nodes if own in plan.positions}

    def step(run: StreamRun, lag: int) -> Tensor:
        found: Tensor = run.beside({own: value(run, lag) for own, value in inner.items()}).called(node)
        return found

    return step
