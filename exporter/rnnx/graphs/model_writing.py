"""Turning a spliced graph and its contract into a sealed .onnx file."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper

from rnnx.formulations.graph import Weight
from rnnx.graphs.onnx_stream import write_sealed
from rnnx.graphs.onnx_writer import PROTOBUF_LIMIT, move_weights_out
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.contract_json import json_from_contract
from rnnx_runtime.files.seal import BLANK, SEAL_KEY

_SMALL = 1024
"""Bytes up to which a constant stays in the graph's message, where shape inference can read it."""


_FIRST_WITH_FUNCTIONS = 8
"""The version of ONNX's IR that brought functions of a model's own."""


def name_values(model: ir.Model, inputs: Iterable[TensorSpec], outputs: Iterable[TensorSpec]) -> None:
    """Give the graph's inputs and outputs the contract's names and dims, each name one value's."""
    graph = model.graph
    _separate_outputs(graph)
    ends = dict(zip((*graph.inputs, *graph.outputs), (*inputs, *outputs), strict=True))
    taken = {spec.name for spec in ends.values()}
    for value in _inner_values(graph):
        if value not in ends and value.name in taken:
            value.name = f"{value.name}_inner"
    for index, value in enumerate(ends):
        value.name = f"end_{index}"  # first aside, for two may swap their names
    for value, spec in ends.items():
        value.name = spec.name
        value.shape = ir.Shape(spec.dims)


def write_model(path: Path, model: ir.Model, contract: Contract) -> dict[str, int]:
    """Write `path`, and `<path>.data` beside it when the weights exceed `PROTOBUF_LIMIT`.

    The same module gives the same bytes, and a model can be written twice. Returns the graph's node count by operator.
    """
    model.graph.name = "model"
    taken = _taken_weights(model.graph)
    proto = ir.to_proto(model)
    for value in taken:
        model.graph.initializers.add(value)
    weights = [_weight(str(value.name), value.const_value) for value in taken]
    _strip(proto)
    proto.ir_version = _least_ir_version(proto)
    proto.producer_name, proto.producer_version = "rnnx", contract.versions["rnnx"]
    values: dict[str, Any] = json_from_contract(contract)
    if sum(4 * int(np.prod(weight.shape)) for weight in weights) > PROTOBUF_LIMIT:
        values["external_data"] = move_weights_out(proto, weights, path)
        weights = []
    helper.set_model_props(proto, {"rnnx": json.dumps({**values, SEAL_KEY: BLANK})})
    with path.open("wb") as file:
        write_sealed(file, proto, weights)
    return dict(sorted(Counter(node.op_type for node in proto.graph.node).items()))


def _least_ir_version(proto: onnx.ModelProto) -> int:
    """What runtimes older than the exporter read too."""
    least: int = helper.find_min_ir_version_for(list(proto.opset_import), ignore_unknown=True)
    return max(least, _FIRST_WITH_FUNCTIONS) if proto.functions else least


def _separate_outputs(graph: ir.Graph) -> None:
    """Let each output be a value of its own: not an input, not a weight, no other output, and nothing a node reads.

    A converter to half precision casts what an output is called, and would cast what reads it too.
    """
    seen: set[ir.Value] = set()
    for index, value in enumerate(graph.outputs):
        if value in seen or value.producer() is None or value.uses():
            node = ir.node("Identity", [value])
            graph.append(node)
            node.outputs[0].name = f"{value.name}_copy{index}"
            node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
            graph.outputs[index] = node.outputs[0]
        seen.add(graph.outputs[index])


def _inner_values(graph: ir.Graph) -> Iterable[ir.Value]:
    """Every value that is made inside, in subgraphs too: those may not be called as what surrounds them is."""
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs
        for own in node.attributes.values():
            inner = own.as_graphs() if own.type == ir.AttributeType.GRAPHS else []
            for body in [own.as_graph()] if own.type == ir.AttributeType.GRAPH else inner:
                yield from body.inputs
                yield from _inner_values(body)


def _taken_weights(graph: ir.Graph) -> list[ir.Value]:
    """The large float32 weights, taken out of the graph to be streamed; equal tensors are one weight."""
    taken, first_of = list[ir.Value](), dict[object, ir.Value]()
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.nbytes <= _SMALL:
            continue
        key = _memory(tensor) or name
        if key in first_of:
            ir.convenience.replace_all_uses_with(value, first_of[key])
        else:
            first_of[key] = value
            taken.append(value)
        del graph.initializers[name]
    return taken


def _weight(name: str, tensor: Any) -> Weight:
    return Weight(name=name, shape=tuple(int(size) for size in tensor.shape), make=lambda: np.asarray(tensor.numpy()))


def _memory(tensor: Any) -> object:
    """Where a PyTorch tensor's values lie, or None for other ones."""
    raw: Any = getattr(tensor, "raw", None)
    return (raw.data_ptr(), raw.stride(), raw.shape) if hasattr(raw, "data_ptr") else None


def _strip(proto: onnx.ModelProto) -> None:
    """Drop what says where and how the model was traced: paths, stacks and inferred shapes."""
    del proto.metadata_props[:], proto.graph.metadata_props[:], proto.graph.value_info[:]
    proto.doc_string = proto.graph.doc_string = ""
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    _strip_nodes(proto.graph.node)


def _strip_nodes(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        del node.metadata_props[:]
        node.doc_string = ""
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                del attribute.g.metadata_props[:], attribute.g.value_info[:]
                _strip_nodes(attribute.g.node)
