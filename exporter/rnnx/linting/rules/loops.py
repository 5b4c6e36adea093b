"""Recurrences written as control flow: `loop-for-cell`, `baked-time`, `scan`.

Launches per step were read from plans that TensorRT for RTX compiled: a fused forward node or a Scan 2, a
Loop with Gather 6.
"""

from collections.abc import Iterator

from onnx import NodeProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel, ExaminedScope
from rnnx.linting.rules.loop_bodies import carried_values, handed_from, is_counter, states_of
from rnnx.linting.rules.recurrences import Recurrence
from rnnx.linting.rules.scopes import Scope, is_onnx, shown
from rnnx.linting.rules.written_cells import written_cells


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every Loop and Scan, judged by what its body does."""
    for part in model.parts:
        for node in part.scope.nodes:
            if is_onnx(node, "Loop"):
                yield from _loop(part.scope, node, _body(model, node))
            elif is_onnx(node, "Scan"):
                yield _scan(node, _body(model, node))


def _body(model: ExaminedModel, node: NodeProto) -> ExaminedScope:
    return next(part for part in model.parts if part.scope.holder is node)


def _steps(body: ExaminedScope) -> tuple[str, ...]:
    """The operators of the single steps in a body: cells written out, and recurrent nodes over a sequence of one."""
    layers = [layer for layer in body.layers if _is_single_step(layer)]
    return (*(cell.operator for cell in written_cells(body.scope)), *(layer.operator for layer in layers))


def _is_single_step(layer: Recurrence) -> bool:
    node = layer.scope.producer(layer.x)
    return node is not None and is_onnx(node, "Unsqueeze")


def _loop(scope: Scope, node: NodeProto, body: ExaminedScope) -> Iterator[Finding]:
    steps = _steps(body)
    if steps and _walks_a_sequence(body.scope) and len(states_of(body.scope)) <= _state_count(steps):
        yield from _fixed_steps(scope, node)
        operator = steps[0]
        yield Finding(
            rule="loop-for-cell",
            severity="info",
            node=shown(node),
            message=f"its body is one {operator} step over a given sequence: TensorRT launches 6 kernels a step "
            "instead of 2, ONNX Runtime runs the body node by node",
            fix=f"nothing is wrong; one {operator} node over the whole sequence, as rnnx export writes it, is faster",
        )


def _walks_a_sequence(body: Scope) -> bool:
    """Whether the body reads a tensor from outside at its own step number, and so does not wait for its last output."""
    if body.graph is None or not body.graph.input:
        return False
    counters = {body.graph.input[0].name, *(own.inside for own in carried_values(body) if is_counter(body, own))}
    own = {value.name for value in body.graph.input}
    reads = [node for node in body.nodes if is_onnx(node, "Gather") and handed_from(body, node.input[1]) in counters]
    return any(node.input[0] not in body.producers and node.input[0] not in own for node in reads)


def _state_count(steps: tuple[str, ...]) -> int:
    return sum(2 if operator == "LSTM" else 1 for operator in steps)


def _fixed_steps(scope: Scope, node: NodeProto) -> Iterator[Finding]:
    steps = scope.ints(node.input[0])
    if steps and steps[0] > 1:
        yield Finding(
            rule="baked-time",
            severity="error",
            node=shown(node),
            message=f"its trip limit holds the time length {steps[0]} of the export's example: shorter sequences fail, "
            "longer ones are cut without a word",
            fix="take the trip limit from the Shape of x, or export it with rnnx export",
        )


def _scan(node: NodeProto, body: ExaminedScope) -> Finding:
    steps, projected = _steps(body), _projects(body.scope)
    does = f"its body is one {steps[0]} step" if steps else "its body is a recurrence of its own"
    does += " with a projection" * projected
    faster = "nothing for TensorRT; for ONNX Runtime a fused node is faster"
    return Finding(
        rule="scan",
        severity="info",
        node=shown(node),
        message=f"{does}: TensorRT runs it as fast as a fused node (2 launches a step), ONNX Runtime runs the body "
        "node by node, and float32 rounding differs from the fused kernel's",
        fix="nothing: no ONNX operator has a projection" if projected else faster,
    )


def _projects(body: Scope) -> bool:
    """Whether an LSTM's h goes through a product within its own step, and becomes the next step's state so."""
    states = [name for cell in written_cells(body) if cell.operator == "LSTM" for name in cell.node.output]
    products = [node for name in states for node in body.readers.get(name, ()) if is_onnx(node, "MatMul", "Gemm")]
    return any(_is_carried(node.output[0], body) for node in products)


def _is_carried(name: str, body: Scope) -> bool:
    """Whether a value, or what only renames it, is one of a Scan's next states."""
    return any(handed_from(body, own.following) == name for own in carried_values(body))
