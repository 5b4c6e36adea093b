"""`input-unread` and `half-state`: what a caller feeds, and no node takes."""

from collections.abc import Iterator

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.lengths import looks_like_lengths, names_read
from rnnx.linting.rules.recurrences import Recurrence


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Inputs of the graph that nothing reads, and LSTMs that are given h0 without c0 or the reverse."""
    read = names_read(model)
    weights = {tensor.name for tensor in model.proto.graph.initializer}
    unread = [
        value.name
        for value in model.proto.graph.input
        if value.name not in read and value.name not in weights and not looks_like_lengths(value)
    ]
    for name in unread if model.layers and not model.origin.is_traced else ():
        yield Finding(
            rule="input-unread",
            severity="warning",
            node=f"input {name!r}",
            message="read by no node: whatever a caller feeds there changes nothing, and a state is lost from call to "
            "call",
            fix="wire it to the node that it is meant for, or leave it out of the inputs",
        )
    yield from (_half(layer) for layer in model.layers if layer.operator == "LSTM" and _is_half(layer))


def _is_half(layer: Recurrence) -> bool:
    h, c = layer.initial_states
    given, absent = (h, c) if h else (c, h)
    return bool(given) and not absent and layer.scope.tensor(given) is None


def _half(layer: Recurrence) -> Finding:
    given, absent = ("initial_h", "initial_c") if layer.initial_states[0] else ("initial_c", "initial_h")
    return Finding(
        rule="half-state",
        severity="warning",
        node=layer.shown,
        message=f"{given} comes from outside and {absent} is left out: every call starts with half of its state at "
        "zero",
        fix=f"hand {absent} to the node, too",
    )
