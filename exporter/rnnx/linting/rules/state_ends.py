"""Where a layer's states come from and go to: inputs and outputs of the model, and parts of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from onnx import NodeProto

from rnnx.linting.rules.scopes import Scope, attributes_of, input_of, is_onnx

_HANDING_ON = ("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Transpose", "QuantizeLinear", "DequantizeLinear")
_MOST_STEPS = 64

_HIDDEN = re.compile(
    r"(^|[^a-z])(h|hn|hx|hidden|hidden_?state|state_?h)(_?(in|out|n|t|x|next|new|prev|state))?[^a-z]*$"
)
_CELL = re.compile(r"(^|[^a-z])(c|cn|cx|cell|cell_?state|state_?c)(_?(in|out|n|t|x|next|new|prev|state))?[^a-z]*$")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A tensor of the model, and at which place of its first axis a state lies in it; None for all of it.

    `passed` are the nodes on the way.
    """

    name: str
    place: int | None
    passed: tuple[NodeProto, ...] = ()


def kind_of_name(name: str) -> str:
    """`h` or `c` for a name as hidden and cell states have it; empty for any other."""
    lowered = re.sub(r":\d+$", "", name).lower()
    hidden, cell = _HIDDEN.search(lowered), _CELL.search(lowered)
    return "" if bool(hidden) == bool(cell) else ("h" if hidden else "c")


def origin_of_state(scope: Scope, name: str) -> Part | None:
    """The model's input that a state is, or is a part of; None where something else makes it."""
    place: int | None = None
    passed: list[NodeProto] = []
    for _ in range(_MOST_STEPS):
        node = scope.producer(name)
        if node is None:
            if scope.outer is not None and scope.graph is not None and name not in _names(scope):
                scope = scope.outer
                continue
            is_input = scope.outer is None and name in _names(scope) and name not in scope.tensors
            return Part(name=name, place=place, passed=tuple(passed)) if is_input else None
        passed.append(node)
        if not is_onnx(node, *_HANDING_ON):
            cut = _cut(scope, node, name)
            if cut is None or place is not None:
                return None
            place = cut
        name = node.input[0]
    return None


def ends_of_state(scope: Scope, name: str) -> Iterator[Part]:
    """The model's outputs that a state is, or is a part of."""
    waiting: list[tuple[Scope, str, int | None, tuple[NodeProto, ...]]] = [(scope, name, None, ())]
    for _ in range(_MOST_STEPS):
        if not waiting:
            return
        scope, name, place, passed = waiting.pop()
        outputs = [value.name for value in scope.graph.output] if scope.graph is not None else []
        if name in outputs and scope.outer is None:
            yield Part(name=name, place=place, passed=passed)
        elif name in outputs and scope.outer is not None and scope.holder is not None and is_onnx(scope.holder, "If"):
            waiting.append((scope.outer, scope.holder.output[outputs.index(name)], place, passed))
        for node in scope.readers.get(name, ()):
            if is_onnx(node, *_HANDING_ON) and node.input[0] == name:
                waiting.append((scope, node.output[0], place, (*passed, node)))
            elif is_onnx(node, "Concat") and attributes_of(node).get("axis") == 0 and place is None:
                waiting.append((scope, node.output[0], list(node.input).index(name), (*passed, node)))


def _names(scope: Scope) -> set[str]:
    return {value.name for value in scope.graph.input} if scope.graph is not None else set()


def _cut(scope: Scope, node: NodeProto, name: str) -> int | None:
    """The place on the first axis at which a node takes a part; None for any other node."""
    if is_onnx(node, "Split") and attributes_of(node).get("axis", 0) == 0:
        return list(node.output).index(name)
    if is_onnx(node, "Gather") and attributes_of(node).get("axis", 0) == 0:
        chosen = scope.ints(input_of(node, 1))
        return chosen[0] if chosen is not None and len(chosen) == 1 else None
    if is_onnx(node, "Slice"):
        starts, places = scope.ints(input_of(node, 1)), scope.ints(input_of(node, 3))
        return starts[0] if starts is not None and len(starts) == 1 and places == (0,) else None
    return None
