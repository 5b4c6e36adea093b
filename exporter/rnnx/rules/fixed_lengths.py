"""Time and batch lengths that a model's inputs leave free or fix."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rnnx.rules.axes import BATCH, TIME, Axis
from rnnx.rules.examined_model import ExaminedModel
from rnnx.rules.state_paths import takes_states

Length = Literal["T", "B"]

LENGTHS: tuple[Length, ...] = ("T", "B")


@dataclass(frozen=True, kw_only=True)
class InputLength:
    """The time or batch length of one graph input; None where it is free."""

    name: str
    length: Length
    value: int | None


def input_lengths(model: ExaminedModel) -> Iterator[InputLength]:
    """The lengths of the graph's inputs, as far as the trail from the recurrent nodes leads to them."""
    graph, scope, axes = model.proto.graph, model.main.scope, model.main.axes
    for name in (value.name for value in graph.input if value.name not in scope.tensors):
        for axis, value in zip(axes.get(name, ()), scope.dims(name) or (), strict=False):
            for length in LENGTHS:
                if axis == _axis(length):
                    yield InputLength(name=name, length=length, value=value)


def freedom(model: ExaminedModel, length: Length) -> Literal["free", "fixed", "unknown"]:
    """Whether the model's inputs leave a length free."""
    values = [found.value for found in input_lengths(model) if found.length == length]
    if values:
        return "free" if None in values else "fixed"
    scope, graph = model.main.scope, model.proto.graph
    dims = [scope.dims(value.name) for value in graph.input]
    return "fixed" if all(own is not None and None not in own for own in dims) else "unknown"


def is_one_step(model: ExaminedModel, length: Length) -> bool:
    """Whether a length is fixed to 1 on purpose: one sequence, or one step of a model that is given its states."""
    values = {found.value for found in input_lengths(model) if found.length == length}
    return values == {1} and (length == "B" or all(takes_states(layer) for layer in model.layers))


def _axis(length: Length) -> Axis:
    return TIME if length == "T" else BATCH
