"""The two ends of a loop in a traced program: nodes between which its step is written once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.onnx.ops
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.tracing.recurrence_nodes import RecurrenceNode

DOMAIN = "rnnx.loops"
BEGIN, END = "LoopBegin", "LoopEnd"


@dataclass(frozen=True, kw_only=True)
class Sequenced:
    """A tensor whose slices along an axis the steps take one by one, from the end where it is `backwards`."""

    tensor: Tensor
    axis: int
    backwards: bool


def begin(loop: int, states: Sequence[Tensor], sequences: Sequence[Sequenced]) -> list[Tensor]:
    """The states and the slices that a step reads; `loop` is the loop's number."""
    sliced = [[size for axis, size in enumerate(own.tensor.shape) if axis != own.axis] for own in sequences]
    tensors = [*states, *(own.tensor for own in sequences)]
    return list(
        torch.onnx.ops.symbolic_multi_out(
            f"{DOMAIN}::{BEGIN}",
            tensors,
            {
                "loop": loop,
                "states": len(states),
                "axes": [own.axis for own in sequences],
                "backwards": [int(own.backwards) for own in sequences],
            },
            dtypes=[own.dtype for own in tensors],
            shapes=[*(list(own.shape) for own in states), *sliced],
            version=1,
        )
    )


def end(loop: int, states: Sequence[Tensor], results: Sequence[Tensor], steps: Any) -> list[Tensor]:
    """The last states, and the results of all steps with time first."""
    tensors = [*states, *results]
    return list(
        torch.onnx.ops.symbolic_multi_out(
            f"{DOMAIN}::{END}",
            tensors,
            {"loop": loop, "states": len(states)},
            dtypes=[own.dtype for own in tensors],
            shapes=[*(list(own.shape) for own in states), *([steps, *own.shape] for own in results)],
            version=1,
        )
    )


@dataclass(frozen=True, kw_only=True)
class LoopNodes:
    """A loop of a traced program: the nodes of its ends, its first states, and how many steps it has."""

    begin: Node
    end: Node
    steps: Any

    @property
    def batch(self) -> Any:
        """The first size of the first state that no weight fixes; None where there is none."""
        sizes = [size for own in self.first_states for size in own.meta["val"].shape]
        return next((size for size in sizes if isinstance(size, torch.SymInt)), None)

    @property
    def first_states(self) -> tuple[Node, ...]:
        """The nodes of the states that the first step reads."""
        tensors: Any = self.begin.args[0]
        return tuple(tensors[: self._states])

    @property
    def last_states(self) -> tuple[Node | None, ...]:
        """The nodes that read the last step's states, None where nothing does."""
        by_place = {own.args[1]: own for own in self.end.users}
        return tuple(by_place.get(place) for place in range(self._states))

    @property
    def _states(self) -> int:
        return int(_attribute(self.end, "states"))


def loop_nodes(program: ExportedProgram) -> Iterator[LoopNodes]:
    """The loops of a program, in order."""
    marks = [node for node in program.graph.nodes if node.op == "call_function" and node.kwargs.get("domain") == DOMAIN]
    begins = {_attribute(node, "loop"): node for node in marks if BEGIN in node.args}
    for node in marks:
        if END in node.args:
            first = begins[_attribute(node, "loop")]
            tensors: Any = first.args[0]
            axis = _attribute(first, "axes")[-1]
            yield LoopNodes(begin=first, end=node, steps=tensors[-1].meta["val"].shape[axis])


def loop_sizes(program: ExportedProgram) -> list[RecurrenceNode]:
    """The batch and the time of each loop, as those of a layer's call."""
    return [RecurrenceNode(layer="", batch=own.batch, time=own.steps, node=own.end) for own in loop_nodes(program)]


def _attribute(node: Node, name: str) -> Any:
    attributes: Any = node.kwargs
    place = attributes["attr_keys"].index(name)
    first, last = attributes["attr_pos"][place]
    values = attributes["attr_ints"][first:last]
    return values[0] if attributes["attr_types"][place] == "i" else values
