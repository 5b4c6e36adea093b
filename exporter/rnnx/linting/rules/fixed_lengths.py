"""Time and batch lengths that a model's inputs leave free or fix."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rnnx.linting.rules.axes import BATCH, TIME, Axis
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.state_paths import takes_states

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
    """Whether the model's inputs leave a length free.

    Where no trail leads from the recurrent nodes to an input, as behind a convolution, the free dims are counted: one
    alone is taken for the batch.
    """
    values = [found.value for found in input_lengths(model) if found.length == length]
    if values:
        return "free" if None in values else "fixed"
    free = _free_dims(model)
    return "fixed" if free is not None and len(free) < (2 if length == "T" else 1) else "unknown"


def _free_dims(model: ExaminedModel) -> set[str] | None:
    """The free dims of all inputs, equal names once; None where an input does not even say its rank."""
    free: set[str] = set()
    for value in model.proto.graph.input:
        if value.name not in model.main.scope.tensors:
            dims = model.main.scope.dims(value.name)
            if dims is None:
                return None
            names = (dim.dim_param for dim in value.type.tensor_type.shape.dim)
            pairs = enumerate(zip(names, dims, strict=True))
            free |= {name or f"{value.name}[{place}]" for place, (name, size) in pairs if size is None}
    return free


def is_one_step(model: ExaminedModel, length: Length) -> bool:
    """Whether a length is fixed to 1 on purpose: one sequence, or one step of a model that is given its states."""
    values = {found.value for found in input_lengths(model) if found.length == length}
    return values == {1} and (length == "B" or all(takes_states(layer) for layer in model.layers))


def is_something_else(model: ExaminedModel, length: Length) -> bool:
    """Whether inputs fix a length to different numbers, as layers over bands or channels do."""
    return len({found.value for found in input_lengths(model) if found.length == length} - {None}) > 1


def _axis(length: Length) -> Axis:
    return TIME if length == "T" else BATCH
