"""An encoder and a looping decoder as one graph: inputs of the encoder in, tokens out."""

from collections.abc import Iterable, Mapping

from onnx import ModelProto, NodeProto, TensorProto, helper, inliner

from rnnx.decoders.decoder_graph import DecoderGraph
from rnnx.decoders.node_copies import copied
from rnnx_runtime.contract import Contract

ENCODER, DECODER = "encoder/", "decoder/"


def joined_graph(
    encoder: ModelProto, contract: Contract, decoder: DecoderGraph, passes: Mapping[str, str]
) -> DecoderGraph:
    """The encoder's graph, then the decoder's on what `passes` gives each of its inputs; its states are no outputs.

    `contract` is the encoder's. Values of either are named after it, so that no two meet.
    """
    if encoder.functions:
        encoder = inliner.inline_local_functions(encoder)
    first, names = _placed(encoder.graph.node, encoder.graph.initializer, ENCODER, {})
    given = {name: names.get(source, source) for name, source in passes.items()}
    second, made = _placed(decoder.nodes, decoder.weights, DECODER, given)
    states = {pair.output for pair in decoder.states}
    outputs = tuple(spec for spec in decoder.outputs if spec.name not in states)
    ends = [helper.make_node("Identity", [made[spec.name]], [spec.name], name=spec.name) for spec in outputs]
    return DecoderGraph(
        inputs=contract.inputs,
        outputs=outputs,
        states=(),
        nodes=(*first[0], *second[0], *ends),
        weights=(*first[1], *second[1]),
    )


def _placed(
    nodes: Iterable[NodeProto], weights: Iterable[TensorProto], prefix: str, given: Mapping[str, str]
) -> tuple[tuple[list[NodeProto], list[TensorProto]], dict[str, str]]:
    """Nodes and weights under a prefix; inputs are what `given` names, or keep their own name."""
    renamed, names = [], dict(given)
    for weight in weights:
        tensor = TensorProto()
        tensor.CopyFrom(weight)
        tensor.name = names[weight.name] = prefix + weight.name
        renamed.append(tensor)
    copies, names = copied(nodes, prefix, names)
    return (copies, renamed), names
