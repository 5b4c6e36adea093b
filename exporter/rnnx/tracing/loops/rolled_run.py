"""A rolled program run in PyTorch, in any float dtype: its loops step by step, its recurrent layers as they are."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from rnnx.tracing.loops.markers import LoopNode, is_begin_node, loop_nodes, nodes_before, step_nodes
from rnnx.tracing.program_call import ProgramCall, ProgramInputs, flat_arguments

Values = dict[Node, Any]


class RolledRun:
    """A copy of a program's graph, as it is now, for calls with any tensors and any dtype of the weights.

    `cells` are those that the model writes by hand and the program calls as layers.
    """

    def __init__(self, program: ExportedProgram, cells: Mapping[str, nn.Module]) -> None:
        self._cells = cells
        self._inputs = ProgramInputs(program)
        self._graph_module = program.graph_module
        graph, copies = Graph(), dict[Node, Node]()
        outputs: Any = graph.graph_copy(program.graph, copies)
        graph.output(outputs)
        self._nodes, self._outputs = tuple(graph.nodes), tuple(outputs)
        self._places = {own.name: copy for own, copy in copies.items()}
        self._loops = {own.node: own for own in loop_nodes(graph)}
        self._steps = step_nodes(graph)
        self._arguments = {node: flat_arguments(node) for node in self._nodes}

    def results(self, module: nn.Module, tensors: Sequence[Tensor]) -> tuple[Any, ...]:
        """What the program gives for these tensors, with the weights of `module` and in their dtype."""
        found = self._run(ProgramCall(module, tensors, self._cells), self._outputs)
        return tuple(found[own] for own in self._outputs)

    def values_of(self, names: Iterable[str], module: nn.Module, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What the nodes of these names give."""
        wanted = [self._places[name] for name in names]
        found = self._run(ProgramCall(module, tensors, self._cells), wanted)
        return [found[own] for own in wanted]

    def _run(self, call: ProgramCall, wanted: Sequence[Node]) -> Values:
        values: Values = {}
        needed = {*wanted, *nodes_before(wanted)} - {node for step in self._steps.values() for node in step}
        for node in self._nodes:
            if node in needed and node.op == "placeholder":
                values[node] = self._inputs.value(node, call)
            elif node in needed and not is_begin_node(node):
                self._compute(node, values, call)
        return values

    def _compute(self, node: Node, values: Values, call: ProgramCall) -> None:
        if node.op == "get_attr":
            values[node] = getattr(self._graph_module, str(node.target))
        elif node in self._loops:
            values[node] = self._looped(self._loops[node], values, call)
        else:
            values[node] = call.computed(node, values, self._arguments[node])

    def _looped(self, loop: LoopNode, values: Values, call: ProgramCall) -> list[Tensor]:
        """The results of all steps, time first, and the last states."""
        count = len(loop.states)
        states, sequences = [values[own] for own in loop.states], [values[own] for own in loop.sequences]
        split, results = len(loop.given_back) - count, list[list[Tensor]]()
        length = sequences[-1].shape[loop.axes[-1]]
        for number in range(length):
            slices = [
                own.select(axis, length - 1 - number if backward else number)
                for own, axis, backward in zip(sequences, loop.axes, loop.backwards, strict=True)
            ]
            values[loop.begin] = [*states, *slices]
            for node in self._steps[loop.node]:
                self._compute(node, values, call)
            after = [values[own] for own in loop.given_back]
            results.append(after[:split])
            states = after[split:]
        return [*(torch.stack(own) for own in zip(*results, strict=True)), *states]
