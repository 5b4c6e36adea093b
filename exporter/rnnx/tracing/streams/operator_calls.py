"""An operator of a trace with the values of a stream's call: its arguments by name, and its call as it is."""

from dataclasses import replace
from typing import Any

from torch.fx import Node

from rnnx.tracing.streams.stream_plan import StreamPlan


def arguments_of(node: Node) -> dict[str, Any]:
    """The arguments of an operator by name, those left out as its schema has them."""
    schema: Any = node.target._schema  # type: ignore[union-attr]
    given = {own.name: own.default_value for own in schema.arguments if own.has_default_value()}
    given |= {own.name: value for own, value in zip(schema.arguments, node.args, strict=False)}
    return {**given, **node.kwargs}


def each(value: Any, count: int) -> list[int]:
    """A number for each of so many axes, of one for all or a list."""
    values = [value] * count if isinstance(value, int) else list(value)
    return [int(own) for own in (values * count if len(values) == 1 and count > 1 else values)]


def add_settled(plan: StreamPlan, node: Node, own: Node) -> None:
    """An operator that works along other axes than time, called as it is."""
    value = plan.settled(own)
    plan.times[node] = replace(value.time, axis=plan.time_axis(node))
    plan.steps[node] = lambda run: run.beside({own: value.step(run)}).called(node)
