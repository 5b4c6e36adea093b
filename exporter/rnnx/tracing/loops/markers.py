"""The two ends of a loop in a traced program: nodes between which its step is written once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.onnx.ops
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from rnnx.tracing.loops.values import Instruction
from rnnx.tracing.recurrence_nodes import RecurrenceNode, attribute_of, is_over_time, recurrence_nodes

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
        return self._given[: self._count]

    @property
    def sequences(self) -> tuple[Node, ...]:
        """The nodes whose slices the steps read; the last one has the steps' numbers."""
        return self._given[self._count :]

    @property
    def given_back(self) -> tuple[Node, ...]:
        """The nodes of the step's results, and then of its next states."""
        tensors: Any = self.node.args[0]
        return tuple(tensors)

    @property
    def axes(self) -> list[int]:
        """The axis of each sequence along which the steps take slices."""
        return list(attribute_of(self.begin, "axes"))

    @property
    def backwards(self) -> list[bool]:
        """Whether the steps take a sequence from its end on."""
        return list(map(bool, attribute_of(self.begin, "backwards")))

    @property
    def _given(self) -> tuple[Node, ...]:
        tensors: Any = self.begin.args[0]
        return tuple(tensors)

    @property
    def _count(self) -> int:
        return int(attribute_of(self.begin, "states"))


def is_begin(instruction: Instruction) -> bool:
    """Whether an instruction is the beginning of a loop that is rolled already."""
    return BEGIN in instruction.leaves


def is_begin_node(node: Node) -> bool:
    """Whether a node is the beginning of a loop."""
    return node.op == "call_function" and node.kwargs.get("domain") == DOMAIN and BEGIN in node.args


def loop_nodes(graph: Graph) -> Iterator[LoopNode]:
    """The loops of a program's graph, in order; a loop's batch is the first free size of its states."""
    marks = [node for node in graph.nodes if node.op == "call_function" and node.kwargs.get("domain") == DOMAIN]
    begins = {attribute_of(node, "loop"): node for node in marks if is_begin_node(node)}
    for node in marks:
        if END in node.args:
            own = LoopNode(layer="", batch=None, time=None, node=node, begin=begins[attribute_of(node, "loop")])
            sizes = [size for state in own.states for size in state.meta["val"].shape if isinstance(size, torch.SymInt)]
            time = own.sequences[-1].meta["val"].shape[own.axes[-1]]
            yield replace(own, batch=sizes[0] if sizes else None, time=time)


def step_nodes(graph: Graph) -> dict[Node, list[Node]]:
    """The nodes of each loop's step by the loop's end, in order; of a loop inside of another's step its end alone."""
    found = dict[Node, list[Node]]()
    for loop in loop_nodes(graph):
        between = _reached([loop.begin], lambda own: list(own.users)) & nodes_before([loop.node])
        found[loop.node] = [node for node in graph.nodes if node in between]
    for end, step in found.items():
        inner = {node for own, nodes in found.items() if own is not end and own in step for node in nodes}
        found[end] = [node for node in step if node not in inner and not is_begin_node(node)]
    return found


def layers_over_time(program: ExportedProgram) -> Iterator[RecurrenceNode]:
    """The recurrent layers that take at once what a loop gave them step by step."""
    return (own for own in recurrence_nodes(program) if is_over_time(own.node))


def layers_of_loops(program: ExportedProgram) -> frozenset[str]:
    """The recurrent layers that a loop calls at each step, or called."""
    inside = set[Node]().union(*step_nodes(program.graph).values())
    return frozenset(own.layer for own in recurrence_nodes(program) if own.node in inside or is_over_time(own.node))


def rolled_times(program: ExportedProgram) -> list[Any]:
    """How long each loop is, be it that layers take its steps at once."""
    return [own.time for own in (*loop_nodes(program.graph), *layers_over_time(program)) if own.time is not None]


def recurrences_beside_loops(program: ExportedProgram) -> list[RecurrenceNode]:
    """The calls of recurrent layers; inside of a loop that takes step by step they have no time of their own."""
    inside = set[Node]().union(*step_nodes(program.graph).values())
    found = list(recurrence_nodes(program))
    return [replace(own, time=None) if own.node in inside and own.time == 1 else own for own in found]


def nodes_before(nodes: Sequence[Node]) -> set[Node]:
    """All nodes that these read."""
    return _reached(nodes, lambda own: own.all_input_nodes)


def _reached(nodes: Sequence[Node], following: Callable[[Node], Sequence[Node]]) -> set[Node]:
    found, waiting = set[Node](), list(nodes)
    while waiting:
        further = [own for own in following(waiting.pop()) if own not in found]
        found.update(further)
        waiting += further
    return found
