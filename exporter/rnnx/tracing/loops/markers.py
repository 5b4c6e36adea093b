"""The two ends of a loop in a traced program: nodes between which its step is written once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.onnx.ops
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.tracing.loops.values import Instruction
from rnnx.tracing.recurrence_nodes import RecurrenceNode, recurrence_nodes

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
    """The results of all steps with time first, and then the last states, as a recurrent layer gives them."""
    tensors = [*results, *states]
    return list(
        torch.onnx.ops.symbolic_multi_out(
            f"{DOMAIN}::{END}",
            tensors,
            {"loop": loop, "states": len(states)},
            dtypes=[own.dtype for own in tensors],
            shapes=[*([steps, *own.shape] for own in results), *(list(own.shape) for own in states)],
            version=1,
        )
    )


@dataclass(frozen=True, kw_only=True)
class LoopNode(RecurrenceNode):
    """A loop of a traced program, as a recurrent layer's call: `node` is its end, `begin` its beginning."""

    begin: Node

    @property
    def states(self) -> tuple[Node, ...]:
        """The nodes of the states that the first step reads."""
        tensors: Any = self.begin.args[0]
        return tuple(tensors[: _attribute(self.begin, "states")])


def is_begin(instruction: Instruction) -> bool:
    """Whether an instruction is the beginning of a loop that is rolled already."""
    return BEGIN in instruction.leaves


def loop_nodes(program: ExportedProgram) -> Iterator[LoopNode]:
    """The loops of a program, in order; a loop's batch is the first free size of its states."""
    marks = [node for node in program.graph.nodes if node.op == "call_function" and node.kwargs.get("domain") == DOMAIN]
    begins = {_attribute(node, "loop"): node for node in marks if BEGIN in node.args}
    for node in marks:
        if END in node.args:
            begin = begins[_attribute(node, "loop")]
            tensors: Any = begin.args[0]
            states = tensors[: _attribute(begin, "states")]
            sizes = [size for own in states for size in own.meta["val"].shape if isinstance(size, torch.SymInt)]
            time = tensors[-1].meta["val"].shape[_attribute(begin, "axes")[-1]]
            yield LoopNode(layer="", batch=sizes[0] if sizes else None, time=time, node=node, begin=begin)


def recurrences_beside_loops(program: ExportedProgram) -> list[RecurrenceNode]:
    """The calls of recurrent layers; inside of a loop that takes step by step they have no time of their own."""
    inside = set[Node]()
    for loop in loop_nodes(program):
        inside |= _after(loop.begin) - _after(loop.node)
    found = list(recurrence_nodes(program))
    return [replace(own, time=None) if own.node in inside and own.time == 1 else own for own in found]


def _after(node: Node) -> set[Node]:
    """All nodes that read what a node gives."""
    found, waiting = set[Node](), [node]
    while waiting:
        users = [own for own in waiting.pop().users if own not in found]
        found.update(users)
        waiting += users
    return found


def _attribute(node: Node, name: str) -> Any:
    attributes: Any = node.kwargs
    place = attributes["attr_keys"].index(name)
    first, last = attributes["attr_pos"][place]
    values = attributes["attr_ints"][first:last]
    return values[0] if attributes["attr_types"][place] == "i" else values
