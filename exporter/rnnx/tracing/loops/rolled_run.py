"""A rolled program run in PyTorch, in any float dtype: its loops step by step, its recurrent layers as they are."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Graph, Node
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils import _pytree as pytree

from rnnx.tracing.loops.markers import LoopNode, is_begin_node, loop_nodes, nodes_before, step_nodes
from rnnx.tracing.opaque_layers import DOMAIN as LAYERS
from rnnx.tracing.recurrence_nodes import attribute_of, is_over_time

Values = dict[Node, Any]


class RolledRun:
    """A copy of a program's graph, as it is now, for calls with any tensors and any dtype of the weights.

    `cells` are those that the model writes by hand and the program calls as layers.
    """

    def __init__(self, program: ExportedProgram, cells: Mapping[str, nn.Module]) -> None:
        self._cells = cells
        signature = program.graph_signature
        self._weights = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        constants = signature.inputs_to_lifted_tensor_constants
        self._constants = {name: program.constants[own] for name, own in constants.items()}
        self._inputs = tuple(signature.user_inputs)
        self._graph_module = program.graph_module
        graph, copies = Graph(), dict[Node, Node]()
        outputs: Any = graph.graph_copy(program.graph, copies)
        graph.output(outputs)
        self._nodes, self._outputs = tuple(graph.nodes), tuple(outputs)
        self._places = {own.name: copy for own, copy in copies.items()}
        self._loops = {own.node: own for own in loop_nodes(graph)}
        self._steps = step_nodes(graph)
        self._arguments = {node: pytree.tree_flatten((tuple(node.args), dict(node.kwargs))) for node in self._nodes}

    def results(self, module: nn.Module, tensors: Sequence[Tensor]) -> tuple[Any, ...]:
        """What the program gives for these tensors, with the weights of `module` and in their dtype."""
        found = self._run(_Call(module, tensors, self._cells), self._outputs)
        return tuple(found[own] for own in self._outputs)

    def values_of(self, names: Iterable[str], module: nn.Module, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What the nodes of these names give."""
        wanted = [self._places[name] for name in names]
        found = self._run(_Call(module, tensors, self._cells), wanted)
        return [found[own] for own in wanted]

    def _run(self, call: "_Call", wanted: Sequence[Node]) -> Values:
        values: Values = {}
        needed = {*wanted, *nodes_before(wanted)} - {node for step in self._steps.values() for node in step}
        for node in self._nodes:
            if node in needed and node.op == "placeholder":
                values[node] = self._given(node, call)
            elif node in needed and not is_begin_node(node):
                self._compute(node, values, call)
        return values

    def _given(self, node: Node, call: "_Call") -> Any:
        name = str(node.target)
        if name in self._weights:
            return call.weight(self._weights[name].removeprefix("model."))
        if name in self._constants:
            return call.converted(self._constants[name])
        return call.tensors[self._inputs.index(name)]

    def _compute(self, node: Node, values: Values, call: "_Call") -> None:
        if node.op == "get_attr":
            values[node] = getattr(self._graph_module, str(node.target))
        elif node in self._loops:
            values[node] = self._looped(self._loops[node], values, call)
        else:
            leaves, structure = self._arguments[node]
            found = [values[own] if isinstance(own, Node) else call.own(own) for own in leaves]
            values[node] = call.result(node, *pytree.tree_unflatten(found, structure))

    def _looped(self, loop: LoopNode, values: Values, call: "_Call") -> list[Tensor]:
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


class _Call:
    """One call: the weights of a module, and its dtype and device in place of the trace's."""

    def __init__(self, module: nn.Module, tensors: Sequence[Tensor], cells: Mapping[str, nn.Module]) -> None:
        self._module, self.tensors = module, tensors
        floats = [own for own in (*module.parameters(), *module.buffers()) if own.is_floating_point()]
        self._dtype = floats[0].dtype if floats else torch.get_default_dtype()
        self._device = floats[0].device if floats else torch.device("cpu")
        self._cells = {name: copy.deepcopy(own).to(self._device, self._dtype) for name, own in cells.items()}

    def weight(self, name: str) -> Any:
        """A parameter or buffer."""
        found: Any = self._module
        for part in name.split("."):
            found = getattr(found, part)
        return found

    def converted(self, value: Tensor) -> Tensor:
        """A constant of the trace."""
        return value.to(self._device, self._dtype if value.is_floating_point() else value.dtype)

    def result(self, node: Node, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """What an operator or a recurrent layer gives."""
        if kwargs.get("domain") == LAYERS:
            name = str(attribute_of(node, "layer"))
            layer = self._cells.get(name) or self._module.get_submodule(name)
            if is_over_time(node):
                return _results_over_time(layer, *args[0][:3], reverse=bool(attribute_of(node, "reverse")))
            return _layer_results(layer, *args[0], batch_first=bool(attribute_of(node, "batch_first")))
        target: Any = node.target
        return target(*args, **kwargs)

    def own(self, leaf: Any) -> Any:
        """A plain argument of the trace."""
        if isinstance(leaf, torch.device):
            return self._device
        return self._dtype if leaf is torch.float32 else leaf


def _layer_results(
    layer: Any, x: Tensor, h0: Tensor | None, c0: Tensor | None, lengths: Tensor | None, *, batch_first: bool
) -> list[Tensor]:
    """What a recurrent layer or cell gives, as its node does: `output` of a layer, `hn`, and `cn` of LSTM."""
    state = h0 if c0 is None else (h0, c0)
    if isinstance(layer, nn.RNNCellBase):
        found = layer(x, state)
        return list(found) if isinstance(found, tuple) else [found]
    turned = batch_first != layer.batch_first
    sequence: Any = x.transpose(0, 1) if turned else x
    if lengths is not None:
        sequence = pack_padded_sequence(sequence, lengths.cpu(), layer.batch_first, enforce_sorted=False)
    output, last = layer(sequence, state)
    if lengths is not None:
        output, _ = pad_packed_sequence(output, layer.batch_first, total_length=x.shape[1 if batch_first else 0])
    return [output.transpose(0, 1) if turned else output, *(last if isinstance(last, tuple) else (last,))]


def _results_over_time(layer: Any, x: Tensor, h0: Tensor, c0: Tensor | None, *, reverse: bool) -> list[Tensor]:
    """What a layer or cell gives for all frames `(T, B, I)` of a loop: `output`, `hn`, and `cn` of LSTM."""
    frames = x.flip(0) if reverse else x
    if isinstance(layer, nn.RNNCellBase):
        state = [h0] if c0 is None else [h0, c0]
        outputs = []
        for frame in frames:
            state = _layer_results(layer, frame, *state, *[None] * (3 - len(state)), batch_first=False)
            outputs.append(state[0])
        output = torch.stack(outputs)
    else:
        output, *state = _layer_results(layer, frames, h0, c0, None, batch_first=False)
    return [output.flip(0) if reverse else output, *state]
