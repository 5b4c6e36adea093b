"""`loop-no-limit`, `loop-ends-early` and `loop-never-runs`: how a Loop ends, and where TensorRT ends it otherwise.

A condition that only counts the steps up to the trip limit, as tf2onnx writes `while`, ends where the limit does.
"""

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, numpy_helper

from rnnx.linting.findings import Finding
from rnnx.linting.rules.backends import TENSORRT
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.loop_bodies import handed_from, source_outside
from rnnx.linting.rules.scopes import Scope, input_of, is_onnx, shown

_COMPARISONS = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual")


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Every Loop without a limit, with a condition that can end it before its limit, or that makes no step."""
    for part in model.parts:
        holder = part.scope.holder
        if holder is not None and is_onnx(holder, "Loop") and part.scope.outer is not None:
            yield from _judged(part.scope.outer, holder, part.scope)


def _judged(scope: Scope, node: NodeProto, body: Scope) -> Iterator[Finding]:
    if _never_runs(scope, node):
        yield Finding(
            rule="loop-never-runs",
            severity="error",
            node=shown(node),
            message="its first condition is a constant false, or its trip limit a constant 0: it makes no step on any "
            "backend, and gives back what it was given",
            fix="make the condition true at first, or take the limit from the sequence",
        )
    elif not input_of(node, 0):
        yield Finding(
            rule="loop-no-limit",
            severity="error",
            node=shown(node),
            message="a Loop without a trip limit, which TensorRT refuses",
            fix="give it the largest number of steps as its first input M",
            backends=TENSORRT,
        )
    elif input_of(node, 1) and _ends_early(scope, node, body) and _gathers(body, node):
        yield Finding(
            rule="loop-ends-early",
            severity="error",
            node=shown(node),
            message="a Loop that can end before its trip limit and gathers an output step by step: TensorRT gives that "
            "output the limit's number of rows, without a word",
            fix="give the number of steps back beside it and cut there, or run to the limit and mask",
            backends=TENSORRT,
        )


def _never_runs(scope: Scope, node: NodeProto) -> bool:
    values = [_constant(scope, input_of(node, place)) for place in (0, 1)]
    return any(value is not None and value <= 0 for value in values)


def _constant(scope: Scope, name: str) -> float | None:
    tensor = scope.tensor(handed_from(scope, name)) if name else None
    if tensor is None or tensor.external_data:
        return None
    values = np.ravel(numpy_helper.to_array(tensor))
    return float(values[0]) if values.size == 1 else None


def _ends_early(scope: Scope, node: NodeProto, body: Scope) -> bool:
    """Whether a part of the body's condition is neither the one it was given, nor a count up to the limit."""
    if body.graph is None or not body.graph.output:
        return False
    limit = handed_from(scope, node.input[0])
    waiting, seen = [body.graph.output[0].name], set()
    while waiting:
        name = handed_from(body, waiting.pop())
        maker = body.producer(name)
        if maker is None or name in seen or is_onnx(maker, "Constant"):
            continue
        seen.add(name)
        if is_onnx(maker, "And"):
            waiting += maker.input
        elif not is_onnx(maker, *_COMPARISONS) or not _counts_to(body, maker, limit):
            return True
    return False


def _counts_to(body: Scope, comparison: NodeProto, limit: str) -> bool:
    """Whether one side of a comparison is the trip limit itself, or another constant of its value."""
    for scope, name in (source_outside(body, side) for side in comparison.input):
        if name == limit and scope is not body:
            return True
        if body.outer is not None and scope is not None:
            bound, own = _constant(scope, name), _constant(body.outer, limit)
            if own is not None and own == bound:
                return True
    return False


def _gathers(body: Scope, node: NodeProto) -> bool:
    """Whether a Loop has outputs that are its steps' values one below the other, and somebody wants one."""
    carried = max(len(node.input) - 2, 0)
    return body.graph is not None and len(body.graph.output) > 1 + carried and any(node.output[carried:])
