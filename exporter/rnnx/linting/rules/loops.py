"""Recurrences written as control flow: `loop-no-limit`, `loop-ends-early`, `loop-for-cell`, `baked-time`, `scan`.

Launches per step were read from plans that TensorRT for RTX compiled: a fused forward node or a Scan 2, a
Loop with Gather 6.
"""

from collections.abc import Iterator

from onnx import NodeProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.backends import TENSORRT
from rnnx.linting.rules.examined_model import ExaminedModel, ExaminedScope
from rnnx.linting.rules.recurrences import Recurrence
from rnnx.linting.rules.scopes import Scope, input_of, is_onnx, shown
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
    if not input_of(node, 0):
        yield Finding(
            rule="loop-no-limit",
            severity="error",
            node=shown(node),
            message="a Loop without a trip limit, which TensorRT refuses",
            fix="give it the largest number of steps as its first input M",
            backends=TENSORRT,
        )
    elif input_of(node, 1) and _ends_early(body.scope) and _gathers(body.scope, node):
        yield Finding(
            rule="loop-ends-early",
            severity="error",
            node=shown(node),
            message="a Loop that can end before its trip limit and gathers an output step by step: TensorRT gives that "
            "output the limit's number of rows, without a word",
            fix="give the number of steps back beside it and cut there, or run to the limit and mask",
            backends=TENSORRT,
        )
    steps = _steps(body)
    if steps and _walks_a_sequence(body.scope) and _carried_count(body.scope) <= _state_count(steps):
        yield from _fixed_steps(scope, node)
        operator = steps[0]
        yield Finding(
            rule="loop-for-cell",
            severity="warning",
            node=shown(node),
            message=f"its body is one {operator} step over a given sequence: TensorRT launches 6 kernels a step "
            "instead of 2, ONNX Runtime runs the body node by node",
            fix=f"write it as one {operator} node over the whole sequence, as rnnx export does",
        )


def _ends_early(body: Scope) -> bool:
    """Whether the body computes its condition, instead of handing the one it was given on."""
    if body.graph is None or not body.graph.output:
        return False
    name = body.graph.output[0].name
    node = body.producer(name)
    while node is not None and is_onnx(node, "Identity", "Cast"):
        name = node.input[0]
        node = body.producer(name)
    return node is not None and not is_onnx(node, "Constant")


def _gathers(body: Scope, node: NodeProto) -> bool:
    """Whether a Loop has outputs that are its steps' values one below the other, and somebody wants one."""
    carried = max(len(node.input) - 2, 0)
    return body.graph is not None and len(body.graph.output) > 1 + carried and any(node.output[carried:])


def _walks_a_sequence(body: Scope) -> bool:
    """Whether the body reads a tensor from outside at its own step number, and so does not wait for its last output."""
    if body.graph is None or not body.graph.input:
        return False
    step, own = body.graph.input[0].name, {value.name for value in body.graph.input}
    derived = {step} | {node.output[0] for node in body.readers.get(step, ()) if is_onnx(node, "Unsqueeze", "Cast")}
    reads = [node for node in body.nodes if is_onnx(node, "Gather") and node.input[1] in derived]
    return any(node.input[0] not in body.producers and node.input[0] not in own for node in reads)


def _carried_count(body: Scope) -> int:
    """The values that a body hands to its next round, but for lists that it only appends to."""
    if body.graph is None:
        return 0
    count = len(body.graph.input) - 2
    makers = [body.producer(value.name) for value in body.graph.output[1 : 1 + count]]
    return count - sum(maker is not None and is_onnx(maker, "SequenceInsert") for maker in makers)


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
    """Whether a value, or what only renames it, is one of the first results of a Scan's body: its next states."""
    if body.graph is None or body.holder is None:
        return False
    scanned = next(own.i for own in body.holder.attribute if own.name == "num_scan_inputs")
    carried = {value.name for value in body.graph.output[: len(body.holder.input) - scanned]}
    names = {name, *(node.output[0] for node in body.readers.get(name, ()) if is_onnx(node, "Identity"))}
    return bool(names & carried)
