"""Each placeholder of a recurrent layer replaced by the layer's formulation, whose graphs stay in one place so."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnx_ir as ir
import spox
from onnx_ir.passes.common import RemoveUnusedNodesPass
from torch import nn

from rnnx.errors import ExportError
from rnnx.formulations.choice import formulation_named
from rnnx.formulations.graph import GraphBuilder, Weight
from rnnx.tracing.layer_weights import recurrence_of_layer, weights_from_layer
from rnnx.tracing.opaque_layers import DOMAIN
from rnnx.weights.weights import RecurrentWeights
from rnnx_runtime.contract import Recurrence


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One call of a layer: its name, what this call computes, its weights, and what its values' names begin with."""

    layer: str
    recurrence: Recurrence
    weights: RecurrentWeights
    lead: str
    is_cell_over_time: bool = False
    is_reverse: bool = False


def splice_recurrences(
    model: ir.Model, module: nn.Module, cells: Mapping[str, nn.Module] | None = None
) -> tuple[Recurrence, ...]:
    """Write every recurrent layer of `module` into the graph, in place; says which there are.

    `cells` are layers that no submodule is, by name. A layer's weights are
    initializers under its name, written once however often it is called.

    Raises:
        ExportError: a layer is called inside of a branch or a loop of the graph.
        WeightsError: a weight is NaN or infinite.
    """
    weights: dict[str, RecurrentWeights] = {}
    calls: Counter[str] = Counter()
    parts: dict[str, Recurrence] = {}
    for node in [node for node in model.graph if node.domain == DOMAIN]:
        name = node.attributes["layer"].as_string()
        layer = (cells or {}).get(name) or module.get_submodule(name)
        if name not in weights:
            weights[name] = weights_from_layer(layer, name)
        call = _Call(
            layer=name,
            recurrence=_recurrence(node, layer, name),
            weights=weights[name],
            lead=f"{_label(layer, name)}/{calls[name]}/",
            is_cell_over_time=isinstance(layer, nn.RNNCellBase) and _is_over_time(node),
            is_reverse=_is_over_time(node) and bool(node.attributes["reverse"].as_int()),
        )
        calls[name] += 1
        _splice(model.graph, node, call, _label(layer, name))
        parts[name] = call.recurrence
    _refuse_nested(model)
    RemoveUnusedNodesPass()(model)
    model.graph.opset_imports.pop(DOMAIN, None)
    return tuple(parts.values())


def _recurrence(node: ir.Node, layer: nn.Module, name: str) -> Recurrence:
    given = [value is not None for value in node.inputs] + [False] * 4
    found = recurrence_of_layer(
        layer, _label(layer, name), state_inputs=given[1], lengths=given[3], over_time=_is_over_time(node)
    )
    if found.form == "step":
        return found
    found = replace(found, batch_first=bool(node.attributes["batch_first"].as_int()))
    is_frame = not found.lengths and not _is_over_time(node) and _time_of(node, found) == 1
    return replace(found, formulation="frame") if is_frame else found


def _is_over_time(node: ir.Node) -> bool:
    """Whether a call takes at once what a loop gave the layer step by step."""
    return "loop" in node.attributes


def _time_of(node: ir.Node, recurrence: Recurrence) -> object:
    """How many frames a call is given: an int where the graph fixes it."""
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    return shape[1 if recurrence.batch_first else 0] if shape is not None else None


def _splice(graph: ir.Graph, node: ir.Node, call: _Call, label: str) -> None:
    builder = GraphBuilder()
    inner = ir.from_proto(_built(builder, call)).graph
    # A layer called on a frame and on a sequence too is written in two ways, each with weights of its own form.
    place = f"{label}/frame" if call.recurrence.formulation == "frame" else label
    held = {own.name: _initializer(graph, f"{place}/{own.name}", own) for own in builder.weights}
    names = [spec.name for spec in call.recurrence.inputs]
    outer = dict(zip(names, [value for value in node.inputs if value is not None], strict=True)) | held
    results = [_written(value) for value in inner.outputs]
    copies = [own for own in inner if own.op_type == "Identity" and own.outputs[0] in inner.outputs]
    nodes = [own for own in inner if own not in copies]
    if call.is_reverse:
        _turn_round(nodes)
    _prefix(nodes, call.lead)
    for value in list(inner.inputs):
        ir.convenience.replace_all_uses_with(value, outer[value.name or ""])
    inner.remove(list(inner))
    for copy in copies:
        copy.replace_input_with(0, None)  # or what it copies would count as read
    graph.insert_before(node, nodes)
    for old, new in zip(node.outputs, results, strict=True):
        new.name, new.type, new.shape = old.name, old.type, old.shape
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _built(builder: GraphBuilder, call: _Call) -> onnx.ModelProto:
    own = call.recurrence
    states = {pair.input for pair in own.following} if call.is_cell_over_time else set()
    inputs = {
        spec.name: spox.argument(spox.Tensor(np.dtype(spec.dtype), spec.dims[1:] if spec.name in states else spec.dims))
        for spec in own.inputs
    }
    op, first = builder.op, builder.ints(0)  # a cell's states have no axis of layers
    given = {name: op.unsqueeze(var, first) if name in states else var for name, var in inputs.items()}
    outputs = formulation_named(own.formulation)(builder, own, call.weights, given)
    last = {pair.output for pair in own.following} if call.is_cell_over_time else set()
    ordered = {
        spec.name: op.squeeze(outputs[spec.name], first) if spec.name in last else outputs[spec.name]
        for spec in own.outputs
    }
    return spox.build(inputs | builder.placeholders, ordered)


def _turn_round(nodes: list[ir.Node]) -> None:
    """Let layers of one direction go from the end of their sequence to its beginning."""
    for node in nodes:
        if node.op_type in ("LSTM", "GRU", "RNN"):
            node.attributes["direction"] = ir.AttrString("direction", "reverse")
        elif node.op_type == "Scan":
            for name in ("scan_input_directions", "scan_output_directions"):
                count = len(node.attributes[name].as_ints())
                node.attributes[name] = ir.AttrInt64s(name, [1] * count)


def _written(value: ir.Value) -> ir.Value:
    """What an output names: spox puts an Identity before each."""
    producer = value.producer()
    if producer is not None and producer.op_type == "Identity" and producer.inputs[0] is not None:
        return producer.inputs[0]
    return value


def _initializer(graph: ir.Graph, name: str, weight: Weight) -> ir.Value:
    if name not in graph.initializers:
        lazy = ir.LazyTensor(
            lambda: ir.tensor(weight.make()), dtype=ir.DataType.FLOAT, shape=ir.Shape(weight.shape), name=name
        )
        graph.register_initializer(
            ir.Value(name=name, shape=ir.Shape(weight.shape), type=ir.TensorType(ir.DataType.FLOAT), const_value=lazy)
        )
    return graph.initializers[name]


def _prefix(nodes: list[ir.Node], lead: str) -> None:
    for index, node in enumerate(_nested(nodes)):
        node.name = f"{lead}{node.name or f'{node.op_type}_{index}'}"
        bodies = [own.as_graph() for own in node.attributes.values() if own.type == ir.AttributeType.GRAPH]
        for value in (*node.outputs, *(value for body in bodies for value in body.inputs)):
            value.name = f"{lead}{value.name}"


def _nested(nodes: list[ir.Node]) -> Iterator[ir.Node]:
    for node in nodes:
        yield node
        for own in node.attributes.values():
            if own.type == ir.AttributeType.GRAPH:
                yield from _nested(list(own.as_graph()))


def _refuse_nested(model: ir.Model) -> None:
    for node in _nested(list(model.graph)):
        if node.domain == DOMAIN:
            raise ExportError(
                f"layer {node.attributes['layer'].as_string()!r}",
                got="a call inside of a branch or loop of the graph",
                expected="calls in forward itself",
                remedy="call the layer outside of torch.cond and the like",
            )


def _label(layer: nn.Module, name: str) -> str:
    """The layer's name; the model's own class where the model is the layer."""
    return name or type(layer).__name__.lower()
