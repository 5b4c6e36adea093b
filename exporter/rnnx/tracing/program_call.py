"""A call of a traced program in PyTorch: weights of a module, its dtype and device in place of the trace's."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node
from torch.nn.utils import rnn
from torch.utils import _pytree as pytree

from rnnx.tracing.opaque_layers import DOMAIN as LAYERS
from rnnx.tracing.opaque_layers import node_over_time
from rnnx.tracing.recurrence_nodes import attribute_of, is_over_time

Flat = tuple[list[Any], pytree.TreeSpec]
"""A node's arguments one by one, and how they are nested."""


def flat_arguments(node: Node) -> Flat:
    """The arguments of a node."""
    return pytree.tree_flatten((tuple(node.args), dict(node.kwargs)))


class ProgramInputs:
    """What a program's placeholders stand for: weights, constants and the inputs of a call."""

    def __init__(self, program: ExportedProgram) -> None:
        signature = program.graph_signature
        self._weights = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        constants = signature.inputs_to_lifted_tensor_constants
        self._constants = {name: program.constants[own] for name, own in constants.items()}
        self._given = tuple(signature.user_inputs)

    def value(self, node: Node, call: "ProgramCall") -> Any:
        """A placeholder's value in a call."""
        name = str(node.target)
        if name in self._weights:
            return call.weight(self._weights[name].removeprefix("model."))
        if name in self._constants:
            return call.converted(self._constants[name])
        return call.tensors[self._given.index(name)]


class ProgramCall:
    """One call: the weights of a module, and its dtype and device in place of the trace's."""

    def __init__(self, module: nn.Module, tensors: Sequence[Tensor], cells: Mapping[str, nn.Module]) -> None:
        self._module, self.tensors = module, tensors
        floats = [own for own in (*module.parameters(), *module.buffers()) if own.is_floating_point()]
        self.dtype = floats[0].dtype if floats else torch.get_default_dtype()
        self._device = floats[0].device if floats else torch.device("cpu")
        self._cells = {name: copy.deepcopy(own).to(self._device, self.dtype) for name, own in cells.items()}

    def weight(self, name: str) -> Any:
        """A parameter or buffer."""
        found: Any = self._module
        for part in name.split("."):
            found = getattr(found, part)
        return found

    def converted(self, value: Tensor) -> Tensor:
        """A constant of the trace."""
        return value.to(self._device, self.dtype if value.is_floating_point() else value.dtype)

    def result(self, node: Node, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """What an operator or a recurrent layer gives."""
        if kwargs.get("domain") == LAYERS:
            name = str(attribute_of(node, "layer"))
            if is_over_time(node) and torch.compiler.is_exporting():
                return _node_over_time(node, name, *args[0][:3])
            layer = self._cells.get(name) or self._module.get_submodule(name)
            if is_over_time(node):
                return _results_over_time(layer, *args[0][:3], reverse=bool(attribute_of(node, "reverse")))
            return _layer_results(layer, *args[0], batch_first=bool(attribute_of(node, "batch_first")))
        target: Any = node.target
        return target(*args, **kwargs)

    def computed(self, node: Node, values: Mapping[Node, Any], arguments: Flat | None = None) -> Any:
        """What a node gives for these values of others; `arguments` are its own, where they were flattened before."""
        leaves, structure = arguments or flat_arguments(node)
        found = [values[own] if isinstance(own, Node) else self.own(own) for own in leaves]
        return self.result(node, *pytree.tree_unflatten(found, structure))

    def own(self, leaf: Any) -> Any:
        """A plain argument of the trace."""
        if isinstance(leaf, torch.device):
            return self._device
        return self.dtype if leaf is torch.float32 else leaf


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
        sequence = rnn.pack_padded_sequence(sequence, lengths.cpu(), layer.batch_first, enforce_sorted=False)
    output, last = layer(sequence, state)
    if lengths is not None:
        output, _ = rnn.pad_packed_sequence(output, layer.batch_first, total_length=x.shape[1 if batch_first else 0])
    return [output.transpose(0, 1) if turned else output, *(last if isinstance(last, tuple) else (last,))]


def _node_over_time(node: Node, name: str, x: Tensor, *states: Tensor | None) -> list[Tensor]:
    """The same node in another trace."""
    names = attribute_of(node, "names") if "names" in node.kwargs["attr_keys"] else ()  # type: ignore[operator]
    return node_over_time(
        name,
        x,
        [own for own in states if own is not None],
        batched=bool(attribute_of(node, "batched")),
        loop=int(attribute_of(node, "loop")),
        reverse=bool(attribute_of(node, "reverse")),
        names=names,
    )


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
