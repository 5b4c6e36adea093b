"""`tensorrt-refused` of control flow: what TensorRT does not parse or does not build of nodes that stand in bodies.

Built with TensorRT for RTX 1.7: an If in an If builds where its condition is made of constants and shapes alone, and
one in an If in an If never does.
"""

from collections.abc import Iterator

from onnx import NodeProto

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel, ExaminedScope
from rnnx.linting.rules.scopes import Scope, input_of, is_onnx
from rnnx.linting.rules.tensorrt_operators import refusal


def find(model: ExaminedModel) -> Iterator[Finding]:
    """Recurrent nodes in the body of a Scan, branches in branches, and a condition that a Loop was not given."""
    for part in model.parts:
        holders = list(_holders(part.scope))
        yield from _in_a_scan(part, holders)
        depth = sum(is_onnx(own, "If") for own in holders)
        for node in part.scope.nodes if depth else ():
            if is_onnx(node, "If"):
                yield from _branch(part.scope, node, depth)
        yield from _without_condition(part.scope)


def _in_a_scan(part: ExaminedScope, holders: list[NodeProto]) -> Iterator[Finding]:
    for layer in part.layers if any(is_onnx(own, "Scan") for own in holders) else ():
        yield refusal(layer.node, "it stands in the body of a Scan, where TensorRT builds no recurrent operator")


def _branch(scope: Scope, node: NodeProto, depth: int) -> Iterator[Finding]:
    if depth > 1:
        yield refusal(node, "a branch within a branch within a branch, which TensorRT does not build")
    elif _depends_on_values(scope, node.input[0]):
        yield refusal(node, "a branch within a branch that depends on an input's values, which TensorRT does not build")


def _depends_on_values(scope: Scope, name: str) -> bool:
    """Whether a condition is made of an input's values; what Shape and Size give is no value of it."""
    waiting: list[tuple[Scope, str]] = [(scope, name)]
    seen: set[tuple[int, str]] = set()
    while waiting:
        own, name = waiting.pop()
        if (id(own), name) in seen or not name or name in own.tensors:
            continue
        seen.add((id(own), name))
        node = own.producer(name)
        if node is not None:
            waiting += [] if is_onnx(node, "Shape", "Size") else [(own, source) for source in node.input]
        elif own.outer is not None:
            waiting.append((own.outer, name))
        elif own.graph is not None and name in {value.name for value in own.graph.input}:
            return True
    return False


def _without_condition(body: Scope) -> Iterator[Finding]:
    """A body that reads the condition it is given, in a Loop that is given none."""
    holder, graph = body.holder, body.graph
    if holder is not None and graph is not None and is_onnx(holder, "Loop") and not input_of(holder, 1):
        condition = graph.input[1].name
        if condition in body.readers:
            yield refusal(holder, f"its body reads the condition {condition!r} and it is given none, which ONNX allows")


def _holders(scope: Scope) -> Iterator[NodeProto]:
    """The nodes whose bodies a scope stands in, from the inside out."""
    inner: Scope | None = scope
    while inner is not None and inner.holder is not None:
        yield inner.holder
        inner = inner.outer
