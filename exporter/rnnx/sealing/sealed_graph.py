"""A graph that another tool wrote, under the names, the order and the dtypes of the original's contract."""

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from rnnx.graphs.model_writing import name_values
from rnnx.runners.foreign_model import ForeignModel
from rnnx_runtime.contract import TensorSpec


def sealed_graph(foreign: ForeignModel) -> ir.Model:
    """The file's graph with the contract's inputs and outputs, each under its name; what has another dtype is cast."""
    model = ir.load(foreign.file.path)
    ir.external_data.load_to_model(model)
    graph, contract = model.graph, foreign.file.contract
    inputs = {str(value.name): value for value in graph.inputs}
    outputs = {str(value.name): value for value in graph.outputs}
    chosen_inputs = [inputs[foreign.names[spec.name]] for spec in contract.inputs]
    chosen_outputs = [outputs[foreign.names[spec.name]] for spec in contract.outputs]
    for spec, value in zip(contract.outputs, chosen_outputs, strict=True):
        if value.dtype != _type_of(spec):
            chosen_outputs[chosen_outputs.index(value)] = _cast_output(graph, value, spec)
    for index, (spec, value) in enumerate(zip(contract.inputs, chosen_inputs, strict=True)):
        if value.dtype != _type_of(spec):
            chosen_inputs[index] = _cast_input(graph, value, spec)
    graph.inputs[:] = chosen_inputs
    graph.outputs[:] = chosen_outputs
    name_values(model, contract.inputs, contract.outputs)
    return model


def changes_of(foreign: ForeignModel) -> Iterator[str]:
    """What sealing changes in the graph, in words."""
    renamed: Mapping[str, str] = {ours: theirs for ours, theirs in foreign.names.items() if ours != theirs}
    if renamed:
        yield f"renamed {', '.join(f'{theirs} to {ours}' for ours, theirs in renamed.items())}"
    if foreign.dtypes:
        yield f"cast to the original's dtypes: {foreign.dtypes_text}"
    if foreign.unmapped:
        yield f"left out: {', '.join(foreign.unmapped)}, which the original has not"


def _type_of(spec: TensorSpec) -> ir.DataType:
    return ir.DataType[{"float32": "FLOAT", "float64": "DOUBLE"}.get(spec.dtype, spec.dtype.upper())]


def _cast_input(graph: ir.Graph, value: ir.Value, spec: TensorSpec) -> ir.Value:
    outer = ir.Value(name=f"{value.name}_given", type=ir.TensorType(_type_of(spec)), shape=ir.Shape(spec.dims))
    node = ir.node("Cast", [outer], {"to": value.dtype})
    inner = node.outputs[0]
    inner.name, inner.type, inner.shape = f"{value.name}_cast", value.type, value.shape
    graph.insert_before(graph[0], node)
    ir.convenience.replace_all_uses_with(value, inner, replace_graph_outputs=True)
    return outer


def _cast_output(graph: ir.Graph, value: ir.Value, spec: TensorSpec) -> ir.Value:
    node = ir.node("Cast", [value], {"to": _type_of(spec)})
    graph.append(node)
    outer = node.outputs[0]
    outer.name, outer.type, outer.shape = f"{value.name}_cast", ir.TensorType(_type_of(spec)), ir.Shape(spec.dims)
    return outer
