"""Turning a formulation into a sealed .onnx file."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import spox
from onnx import TensorProto, helper

from rnnx.formulations.graph import Formulation, GraphBuilder, Weight
from rnnx.graphs.onnx_stream import weight_values, write_sealed
from rnnx.weights.weights import RecurrentWeights
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.contract_json import json_from_contract
from rnnx_runtime.files.seal import BLANK, SEAL_KEY

PROTOBUF_LIMIT = 2**31 - 2**20
"""Bytes of weights above which they go to a file of their own; a protobuf holds less than 2 GiB."""

_ELEMENT_TYPES = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}


def write_onnx(
    path: Path, formulation: Formulation, contract: Contract, weights: RecurrentWeights, opset: int
) -> dict[str, int]:
    """Write `path`, and `<path>.data` beside it when the weights exceed `PROTOBUF_LIMIT`.

    The same contract and weights give the same bytes. Returns the graph's node count by operator.
    """
    graph = GraphBuilder()
    model = _graph_without_weights(graph, formulation, contract, weights, opset)
    size = 4 * sum(int(np.prod(weight.shape)) for weight in graph.weights)
    values: dict[str, Any] = json_from_contract(contract)
    inside = graph.weights
    if size > PROTOBUF_LIMIT:
        values["external_data"] = move_weights_out(model, graph.weights, path)
        inside = []
    helper.set_model_props(model, {"rnnx": json.dumps({**values, SEAL_KEY: BLANK})})
    with path.open("wb") as file:
        write_sealed(file, model, inside)
    return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))


def _graph_without_weights(
    graph: GraphBuilder, formulation: Formulation, contract: Contract, weights: RecurrentWeights, opset: int
) -> onnx.ModelProto:
    """The model with every weight still a graph input, then those inputs dropped and the contract's shapes declared."""
    inputs = {spec.name: spox.argument(spox.Tensor(np.dtype(spec.dtype), spec.dims)) for spec in contract.inputs}
    layer = contract.layer()
    outputs = formulation(graph, layer, weights, inputs)
    ordered = {spec.name: outputs[spec.name] for spec in contract.outputs}
    model = spox.build(inputs | graph.placeholders, ordered)
    del model.graph.input[:], model.graph.output[:], model.opset_import[:]
    model.graph.input.extend(_value_info(spec) for spec in contract.inputs)
    model.graph.output.extend(_value_info(spec) for spec in contract.outputs)
    _drop_identities(model.graph)
    model.graph.name = layer.form
    model.opset_import.append(helper.make_opsetid("", opset))
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    model.producer_name, model.producer_version = "rnnx", contract.versions["rnnx"]
    return model


def _drop_identities(graph: onnx.GraphProto) -> None:
    """Let each output's own node write it, where spox put an Identity to name it and no other node reads it.

    A converter to half precision casts what an output is called, and would cast what reads it too.
    """
    identities = [node for node in graph.node if node.op_type == "Identity"]
    read = Counter(name for node in graph.node for name in node.input)
    outputs = {value.name for value in graph.output}
    renames = {
        node.input[0]: node.output[0]
        for node in identities
        if read[node.input[0]] == 1 or node.output[0] not in outputs
    }
    kept = [node for node in graph.node if node.op_type != "Identity" or renames.get(node.input[0]) != node.output[0]]
    for node in kept:
        node.input[:] = [renames.get(name, name) for name in node.input]
        if node.op_type != "Identity":
            node.output[:] = [renames.get(name, name) for name in node.output]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(nodes)


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, _ELEMENT_TYPES[spec.dtype], list(spec.dims))


def move_weights_out(model: onnx.ModelProto, weights: list[Weight], path: Path) -> dict[str, str]:
    """Write the weights to `<path>.data`; returns the file's name and SHA-256 for the contract."""
    digest, offset, name = hashlib.sha256(), 0, f"{path.name}.data"
    with path.with_name(name).open("wb") as file:
        for weight in weights:
            data = np.ascontiguousarray(weight_values(weight)).data.cast("B")
            digest.update(data)
            file.write(data)
            tensor = model.graph.initializer.add(name=weight.name, dims=weight.shape, data_type=TensorProto.FLOAT)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", name), ("offset", offset), ("length", len(data))):
                tensor.external_data.add(key=key, value=str(value))
            offset += len(data)
    return {"file": name, "sha256": digest.hexdigest()}
