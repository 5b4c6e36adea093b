"""`state-from-layer` and `step-left-out`: a recurrence that starts from a state that is not its own."""

from collections.abc import Iterator

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel, ExaminedScope
from rnnx.linting.rules.recurrences import Recurrence
from rnnx.linting.rules.scopes import Scope, is_onnx, shown
from rnnx.linting.rules.upstream import handed_through, upstream_of
from rnnx.linting.rules.written_cells import written_cells


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Layers on top of each other whose states are chained, and written steps that start from the same state."""
    for part in model.parts:
        for layer in part.layers:
            yield from _chained(part, layer)
        yield from _left_out(part.scope)


def _chained(part: ExaminedScope, layer: Recurrence) -> Iterator[Finding]:
    """An encoder's final state is a decoder's first one, but not where the decoder reads the encoder step by step."""
    sources = {handed_through(part.scope, name) for name in layer.initial_states if name}
    for below in part.layers:
        given = {name for name in below.outputs[1:] if name}
        is_other = below is not layer and below.node.input[1] != layer.node.input[1]
        if is_other and sources & given and below.outputs[0] in upstream_of(part.scope, layer.x):
            yield Finding(
                rule="state-from-layer",
                severity="warning",
                node=layer.shown,
                message=f"it reads the output of {below.shown} and starts from that one's final state, which has "
                "already seen the whole sequence: no framework's stacked layers do",
                fix="give it zeros, or its own part of the initial states",
            )


def _left_out(scope: Scope) -> Iterator[Finding]:
    """Two steps written out that begin with one and the same state."""
    cells = [cell for cell in written_cells(scope) if not scope.is_repeated]
    states = {cell.node.output[0] for cell in cells}
    if len(cells) < 2:
        return
    seen: set[tuple[str, str]] = set()
    for node in scope.nodes:
        if is_onnx(node, "MatMul", "Gemm") and scope.tensor(node.input[1]) is not None:
            key = (handed_through(scope, node.input[0]), node.input[1])
            if key[0] in states and key in seen:
                yield Finding(
                    rule="step-left-out",
                    severity="warning",
                    node=shown(node),
                    message=f"a second step starts from the state {key[0]!r}, with the same weights: one of them "
                    "leaves out what came between",
                    fix="start each step from the one before it",
                )
            seen.add(key)
