"""An unrolled decoder: N copies of the step's nodes in one graph, which share its weights."""

from rnnx.decoders.decoder_graph import DecoderGraph, decoder_graph
from rnnx.decoders.greedy import Rows, first_rows, next_rows, stepped
from rnnx.decoders.node_list import Constants, NodeList
from rnnx.decoders.step_graph import StepGraph
from rnnx_runtime.contract import DecoderPart, TensorSpec


def unrolled_graph(step: StepGraph, part: DecoderPart) -> DecoderGraph:
    """N steps, teacher-forced or greedy: `logits (N, B, V)` and the last state, greedy also `tokens (B, N)`.

    With an end token also `lengths (B,)`; a row's tokens and state stand still after its end, its logits do not.
    """
    return _teacher_forced(step, part) if part.feed == "teacher" else _greedy(step, part)


def _teacher_forced(step: StepGraph, part: DecoderPart) -> DecoderGraph:
    constants = Constants("decoder/constant_")
    nodes = NodeList("decoder/", constants)
    states, logits = tuple(spec.name for spec in step.state_inputs), []
    for index in range(part.steps or 0):
        own = NodeList(f"step_{index}/", constants)
        token = own.add("Gather", part.token or "", own.scalar(index), axis=0)
        states, scores = stepped(own, step, token, states)
        logits.append(own.add("Unsqueeze", scores, own.ints(0)))
        nodes.nodes += own.nodes
    nodes.add("Concat", *logits, output=step.logits.name, axis=0)
    return decoder_graph(step, part, nodes, Rows(token="", states=states), (_stacked_logits(step, part),))


def _greedy(step: StepGraph, part: DecoderPart) -> DecoderGraph:
    constants = Constants("decoder/constant_")
    nodes = NodeList("decoder/", constants)
    rows, tokens, logits = first_rows(nodes, step, part), [], []
    for index in range(part.steps or 0):
        own = NodeList(f"step_{index}/", constants)
        rows, scores = next_rows(own, step, part, rows)
        tokens.append(own.add("Unsqueeze", rows.token, own.ints(1)))
        logits.append(own.add("Unsqueeze", scores, own.ints(0)))
        nodes.nodes += own.nodes
    nodes.add("Concat", *tokens, output=part.tokens or "", axis=1)
    nodes.add("Concat", *logits, output=step.logits.name, axis=0)
    return decoder_graph(step, part, nodes, rows, (tokens_spec(step, part), _stacked_logits(step, part)))


def tokens_spec(step: StepGraph, part: DecoderPart) -> TensorSpec:
    """The tokens that a decoder gives, `(B, N)`."""
    return TensorSpec(name=part.tokens or "", dtype="int64", dims=(step.token.dims[0], part.steps or 0))


def _stacked_logits(step: StepGraph, part: DecoderPart) -> TensorSpec:
    return TensorSpec(name=step.logits.name, dtype=step.logits.dtype, dims=(part.steps or 0, *step.logits.dims))
