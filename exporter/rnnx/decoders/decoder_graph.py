"""A decoder's graph with the names and shapes of its edges, ready to be written."""

from dataclasses import dataclass

from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from rnnx.decoders.greedy import Rows
from rnnx.decoders.node_list import NodeList
from rnnx.decoders.output_names import LENGTHS
from rnnx.decoders.step_graph import StepGraph
from rnnx_runtime.contract import DecoderPart, Dim, StatePair, TensorSpec

_TYPES = {
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "bool": TensorProto.BOOL,
}


@dataclass(frozen=True, kw_only=True)
class DecoderGraph:
    """Nodes in order with their weights and constants, and what goes in and comes out."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[StatePair, ...]
    nodes: tuple[NodeProto, ...]
    weights: tuple[TensorProto, ...]


def decoder_graph(
    step: StepGraph, part: DecoderPart, nodes: NodeList, last: Rows, results: tuple[TensorSpec, ...]
) -> DecoderGraph:
    """The graph of `nodes`, which write `results` under their names, with `last` as its last state."""
    token: tuple[TensorSpec, ...] = ()
    if part.start_token is None:
        lead = (part.steps or 0,) if part.feed == "teacher" else ()
        token = (TensorSpec(name=part.token or "", dtype="int64", dims=(*lead, *step.token.dims)),)
    outputs = list(results)
    if last.lengths is not None:
        nodes.add("Identity", last.lengths, output=LENGTHS)
        outputs.append(TensorSpec(name=LENGTHS, dtype="int64", dims=step.token.dims))
    for spec, name in zip(step.state_outputs, last.states, strict=True):
        nodes.add("Identity", name, output=spec.name)
    return DecoderGraph(
        inputs=(*token, *step.state_inputs, *step.context),
        outputs=(*outputs, *step.state_outputs),
        states=step.states,
        nodes=(*step.once, *nodes.nodes),
        weights=(*step.weights, *nodes.constants.tensors),
    )


def value_info(name: str, dtype: str, dims: tuple[Dim, ...]) -> ValueInfoProto:
    """A tensor of a graph as ONNX describes it."""
    return helper.make_tensor_value_info(name, _TYPES[dtype], list(dims))
