"""The values that a loop carries as inputs and outputs of the program, where they start from no input's values."""

import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, OutputKind, OutputSpec, TensorArgument
from torch.fx import Node
from torch.utils import _pytree as pytree

from rnnx.tracing.loops.markers import LoopNode, layers_over_time, loop_nodes
from rnnx.tracing.loops.rolled_run import RolledRun
from rnnx.tracing.loops.state_names import Source, source_of, state_pairs_of
from rnnx.tracing.recurrence_nodes import RecurrenceNode, attribute_of
from rnnx.tracing.states.carried_states import CarriedStates
from rnnx.tracing.states.value_origins import OF_SHAPES
from rnnx.tracing.tracing import Trace
from rnnx_runtime.contract import StatePair


@dataclass(frozen=True, kw_only=True)
class _Carried:
    """A state of a loop, or of the layer that took its place, that can be lifted: the loop's number, and its nodes.

    `first` reads the state's `start` at place `given` of its inputs, `last` gives the last one at place `end`, and
    `source` is what gives the next in a step.
    """

    loop: int
    start: Node
    first: Node
    given: int
    last: Node
    end: int
    source: Source


def with_carried_states(
    trace: Trace, module: nn.Module, tensors: Mapping[str, Tensor]
) -> tuple[Trace, CarriedStates | None]:
    """The trace with the states of its loops as further inputs and outputs; None where it has none to lift.

    `tensors` are the example's, by the inputs' names.
    """
    program = trace.program
    carried = list(_carried(program))
    if not carried:
        return trace, None
    pairs = state_pairs_of([(own.loop, own.source) for own in carried], {*tensors, *trace.outputs})
    starts = _starts(RolledRun(program, trace.cells), carried, module, list(tensors.values()))
    offsets = frozenset(pair.input for pair, own in zip(pairs, starts, strict=True) if own.count_nonzero())
    for own, pair in zip(carried, pairs, strict=True):
        _lift(program, own, pair, is_offset=pair.input in offsets)
    _declare(program)
    outputs = (*trace.outputs, *(pair.output for pair in pairs))
    zeros = {pair.input: torch.zeros_like(own) for pair, own in zip(pairs, starts, strict=True)}
    states = CarriedStates(
        pairs=pairs,
        zeros=zeros,
        offsets=offsets,
        inputs=(*tensors, *zeros),
        outputs=outputs,
        program=RolledRun(program, trace.cells),
    )
    return replace(trace, outputs=outputs), states


def _carried(program: ExportedProgram) -> Iterator[_Carried]:
    """The states that start from weights and constants alone, of loops that go forwards in time."""
    given = {node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs}
    ends = {own.node: own for own in (*loop_nodes(program.graph), *layers_over_time(program))}
    found = [ends[node] for node in program.graph.nodes if node in ends]
    return (own for end in found for own in _states_of(end) if not _reads(own.start, given))


def _states_of(end: RecurrenceNode) -> Iterator[_Carried]:
    loop, count = int(attribute_of(end.node, "loop")), len(end.states)
    first_end = len(end.node.meta["val"]) - count
    if isinstance(end, LoopNode):
        given_back = end.given_back[first_end:]
        for number, start in enumerate(end.states if not any(end.backwards) else ()):
            yield _Carried(
                loop=loop,
                start=start,
                first=end.begin,
                given=number,
                last=end.node,
                end=first_end + number,
                source=source_of(given_back[number]),
            )
    elif not attribute_of(end.node, "reverse"):
        for number, start in enumerate(end.states):
            yield _Carried(
                loop=loop,
                start=start,
                first=end.node,
                given=1 + number,
                last=end.node,
                end=first_end + number,
                source=(end.node, first_end + number),
            )


def _reads(node: Node, given: Collection[Node]) -> bool:
    """Whether a value is computed from the values of these."""
    waiting, seen = [node], set[Node]()
    while waiting:
        own = waiting.pop()
        if own in given:
            return True
        if own in seen or not isinstance(own.meta.get("val"), Tensor | list | tuple):
            continue
        seen.add(own)
        if _name(own) not in OF_SHAPES:
            waiting += own.all_input_nodes
    return False


def _starts(
    program: RolledRun, carried: Sequence[_Carried], module: nn.Module, tensors: Sequence[Tensor]
) -> list[Tensor]:
    with torch.no_grad():
        return program.values_of([own.start.name for own in carried], module, tensors)


def _lift(program: ExportedProgram, state: _Carried, pair: StatePair, *, is_offset: bool) -> None:
    """Let a loop start from a further input, and give what it ends with as a further output."""
    graph, first = program.graph, state.first
    last_input = [node for node in graph.nodes if node.op == "placeholder"][-1]
    with graph.inserting_after(last_input):
        given = graph.placeholder(f"state_{pair.input}")
    given.meta["val"] = state.start.meta["val"]
    start = given
    if is_offset:
        with graph.inserting_before(first):
            start = _computed(graph.call_function(torch.ops.aten.add.Tensor, (given, state.start)), given)
    tensors: Any = first.args[0]
    own = list(tensors)
    own[state.given] = start
    first.args = (own, *first.args[1:])
    results: Any = graph.output_node().args[0]
    with graph.inserting_before(graph.output_node()):
        last = graph.call_function(operator.getitem, (state.last, state.end))
        last.meta["val"] = state.last.meta["val"][state.end]
        if is_offset:
            last = _computed(graph.call_function(torch.ops.aten.sub.Tensor, (last, state.start)), last)
    graph.output_node().args = ((*results, last),)
    signature = program.graph_signature
    signature.input_specs.append(InputSpec(kind=InputKind.USER_INPUT, arg=TensorArgument(name=given.name), target=None))
    signature.output_specs.append(
        OutputSpec(kind=OutputKind.USER_OUTPUT, arg=TensorArgument(name=last.name), target=None)
    )


def _declare(program: ExportedProgram) -> None:
    """Let the program's call take and give as many tensors as its graph does."""
    signature: Any = program.module_call_graph[0].signature
    given = (0,) * len(program.graph_signature.user_inputs)
    signature.in_spec = pytree.tree_flatten(((given,), {}))[1]
    signature.out_spec = pytree.tree_flatten((0,) * len(program.graph_signature.user_outputs))[1]
    program.graph_module.recompile()


def _computed(node: Node, like: Node) -> Node:
    node.meta["val"] = like.meta["val"]
    return node


def _name(node: Node) -> str:
    return str(getattr(node.target, "__name__", node.target)).split(".")[0]
