"""A looping decoder: an ONNX Loop with the step's nodes as its body, its weights around it, and a trip limit.

The loop stops early once every row has met its end. Tokens go into a buffer that the loop carries: what a Loop stacks
has as many entries as it had trips, which would make the outputs' size depend on the data.
https://onnx.ai/onnx/operators/onnx__Loop.html
"""

import numpy as np
from onnx import GraphProto, TensorProto, helper

from rnnx.decoders.decoder_graph import DecoderGraph, decoder_graph, value_info
from rnnx.decoders.greedy import Rows, first_rows, next_rows
from rnnx.decoders.node_list import Constants, NodeList
from rnnx.decoders.step_graph import StepGraph
from rnnx.decoders.unrolled_decoder import tokens_spec
from rnnx_runtime.contract import DecoderPart, TensorSpec

_BODY = "loop/"


def loop_graph(step: StepGraph, part: DecoderPart) -> DecoderGraph:
    """Greedy decoding up to N steps: `tokens (B, N)`, with an end token `output_lengths (B,)`, and the last state."""
    constants = Constants("decoder/constant_")
    nodes = NodeList("decoder/", constants)
    rows = first_rows(nodes, step, part)
    pad = part.pad_token if part.pad_token is not None else part.end_token
    shape = nodes.add("Concat", nodes.add("Shape", rows.token), nodes.ints(part.steps or 0), axis=0)
    buffer = nodes.add("Expand", nodes.scalar(pad or 0), shape)
    carried = _carried(step, part, rows)
    first = [rows.token, *rows.states, *filter(None, (rows.ended, rows.lengths)), buffer]
    last = [f"decoder/last_{spec.name}" for spec in carried]
    last[-1] = part.tokens or ""
    body = _body(step, part, carried, constants)
    inputs = [nodes.scalar(part.steps or 0), nodes.scalar(True), *first]
    nodes.nodes.append(helper.make_node("Loop", inputs, last, name="decoder/Loop", body=body))
    count = len(step.states)
    end = {} if part.end_token is None else {"ended": last[1 + count], "lengths": last[2 + count]}
    after = Rows(token=last[0], states=tuple(last[1 : 1 + count]), **end)
    return decoder_graph(step, part, nodes, after, (tokens_spec(step, part),))


def _carried(step: StepGraph, part: DecoderPart, rows: Rows) -> list[TensorSpec]:
    """What goes round the loop: the token, the states, with an end token who has ended and the lengths, all tokens."""
    batch = step.token.dims
    specs = [TensorSpec(name="token", dtype="int64", dims=batch)]
    specs += [TensorSpec(name=f"state_{i}", dtype=own.dtype, dims=own.dims) for i, own in enumerate(step.state_inputs)]
    if rows.ended is not None:
        specs.append(TensorSpec(name="ended", dtype="bool", dims=batch))
        specs.append(TensorSpec(name="lengths", dtype="int64", dims=batch))
    return [*specs, TensorSpec(name="tokens", dtype="int64", dims=tokens_spec(step, part).dims)]


def _body(step: StepGraph, part: DecoderPart, carried: list[TensorSpec], constants: Constants) -> GraphProto:
    nodes = NodeList(_BODY, constants)
    names = [f"{_BODY}old_{spec.name}" for spec in carried]
    count = len(step.states)
    end = {} if part.end_token is None else {"ended": names[1 + count], "lengths": names[2 + count]}
    rows = Rows(token=names[0], states=tuple(names[1 : 1 + count]), **end)
    rows, _ = next_rows(nodes, step, part, rows)
    trip, goes_on = f"{_BODY}trip", f"{_BODY}goes_on"
    here = nodes.add("Equal", constants.name_of(np.arange(part.steps or 0, dtype=np.int64)[None]), trip)
    written = nodes.add("Where", here, nodes.add("Unsqueeze", rows.token, nodes.ints(1)), names[-1])
    results = [rows.token, *rows.states, *filter(None, (rows.ended, rows.lengths)), written]
    condition = _goes_on(nodes, rows, goes_on)
    inputs = [value_info(trip, "int64", ()), value_info(goes_on, "bool", ())]
    inputs += [value_info(name, spec.dtype, spec.dims) for name, spec in zip(names, carried, strict=True)]
    outputs = [value_info(condition, "bool", ())]
    outputs += [value_info(name, spec.dtype, spec.dims) for name, spec in zip(results, carried, strict=True)]
    return helper.make_graph(nodes.nodes, "step", inputs, outputs)


def _goes_on(nodes: NodeList, rows: Rows, condition: str) -> str:
    """Whether any row has not ended; always, without an end token."""
    if rows.ended is None:
        return nodes.add("Identity", condition)
    ended = nodes.add("Cast", rows.ended, to=TensorProto.INT32)
    return nodes.add("Not", nodes.add("Cast", nodes.add("ReduceMin", ended, keepdims=0), to=TensorProto.BOOL))
