"""Greedy decoding as nodes: a step, its argmax fed back, and rows that stand still after their end."""

from dataclasses import dataclass

from onnx import TensorProto

from rnnx.decoders.node_copies import copied
from rnnx.decoders.node_list import NodeList
from rnnx.decoders.step_graph import StepGraph
from rnnx_runtime.contract import DecoderPart, TensorSpec


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The names of what goes from step to step: tokens `(B,)`, states, with an end token `ended` and `lengths` `(B,)`.

    `lengths` counts a row's tokens before its end.
    """

    token: str
    states: tuple[str, ...]
    ended: str | None = None
    lengths: str | None = None


def first_rows(nodes: NodeList, step: StepGraph, part: DecoderPart) -> Rows:
    """What the first step gets: the graph's own inputs, and rows of which none has ended."""
    token = part.token if part.start_token is None else _everywhere(nodes, step, part.start_token)
    states = tuple(spec.name for spec in step.state_inputs)
    if part.end_token is None:
        return Rows(token=token or "", states=states)
    zeros = _everywhere(nodes, step, 0)
    return Rows(token=token or "", states=states, ended=nodes.add("Cast", zeros, to=TensorProto.BOOL), lengths=zeros)


def next_rows(nodes: NodeList, step: StepGraph, part: DecoderPart, rows: Rows) -> tuple[Rows, str]:
    """Append one greedy step; returns what the next step gets, and the name of this one's logits `(B, V)`."""
    states, logits = stepped(nodes, step, rows.token, rows.states)
    token = nodes.add("ArgMax", logits, axis=1, keepdims=0)
    if rows.ended is None or rows.lengths is None:
        return Rows(token=token, states=states), logits
    pairs = zip(step.state_inputs, rows.states, states, strict=True)
    kept = tuple(_kept(nodes, step, rows.ended, spec, old, new) for spec, old, new in pairs)
    pad = part.pad_token if part.pad_token is not None else part.end_token
    shown = nodes.add("Where", rows.ended, nodes.scalar(pad or 0), token)
    ended = nodes.add("Or", rows.ended, nodes.add("Equal", token, nodes.scalar(part.end_token or 0)))
    more = nodes.add("Cast", nodes.add("Not", ended), to=TensorProto.INT64)
    return Rows(token=shown, states=kept, ended=ended, lengths=nodes.add("Add", rows.lengths, more)), logits


def stepped(nodes: NodeList, step: StepGraph, token: str, states: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Append the step's own nodes; returns the new states and the logits."""
    inputs = dict(zip((spec.name for spec in step.state_inputs), states, strict=True))
    copies, names = copied(step.each, nodes.prefix, {step.token.name: token, **inputs})
    nodes.nodes.extend(copies)
    return tuple(names[spec.name] for spec in step.state_outputs), names[step.logits.name]


def _everywhere(nodes: NodeList, step: StepGraph, token: int) -> str:
    source = step.state_inputs[0]
    axis = step.batch_axis(source)
    return nodes.add("Expand", nodes.scalar(token), nodes.add("Shape", source.name, start=axis, end=axis + 1))


def _kept(nodes: NodeList, step: StepGraph, ended: str, spec: TensorSpec, old: str, new: str) -> str:
    """The new state, and the old one in rows that have ended."""
    axis = step.batch_axis(spec)
    others = [i for i in range(len(spec.dims)) if i != axis]
    mask = nodes.add("Unsqueeze", ended, nodes.ints(*others)) if others else ended
    if spec.dtype != "bool":
        return nodes.add("Where", mask, old, new)
    following = nodes.add("And", nodes.add("Not", mask), new)  # ONNX Runtime has no Where of bools
    return nodes.add("Or", nodes.add("And", mask, old), following)
