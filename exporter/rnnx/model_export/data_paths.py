"""Following values through a traced program: which inputs are lengths, and which results are an input's next state."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.model_export.recurrence_nodes import RecurrenceNode
from rnnx_runtime.model_contract import StatePair

# fmt: off
_SHAPING = frozenset((
    "view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "select", "slice", "unbind", "getitem", "stack",
    "cat", "permute", "transpose", "clone", "contiguous", "expand", "to", "_to_copy", "detach", "alias", "split",
    "split_with_sizes", "chunk", "narrow", "flatten", "unflatten", "index_select", "lift_fresh_copy",
))
# fmt: on
"""Operators that move values and change none."""


def lengths_inputs(program: ExportedProgram, names: Sequence[str], recurrences: Sequence[RecurrenceNode]) -> list[str]:
    """The inputs that reach a recurrent layer as its lengths."""
    by_node = dict(zip(program.graph_signature.user_inputs, names, strict=True))
    given: list[Any] = [own.node.args[0][3] for own in recurrences]  # type: ignore[index, union-attr]
    found = {node.name for own in given if isinstance(own, Node) for node in _origins(own, None)}
    return [name for node, name in by_node.items() if node in found]


def state_pairs(
    program: ExportedProgram, names: Sequence[str], outputs: Sequence[str], recurrences: Sequence[RecurrenceNode]
) -> tuple[StatePair, ...]:
    """The inputs that reach a layer's h0 or c0, each with the result that comes from the same layer's hn or cn."""
    by_input = dict(zip(program.graph_signature.user_inputs, names, strict=True))
    by_output = dict(zip(map(str, program.graph_signature.user_outputs), outputs, strict=True))
    nodes = {node.name: node for node in program.graph.nodes}
    calls = {own.node: own for own in recurrences}
    pairs: dict[str, str] = {}
    for node, output in by_output.items():
        for origin in _origins(nodes[node], calls):
            name = by_input.get(origin.name)
            if name is not None and name not in pairs and _alike(origin, nodes[node]) and origin is not nodes[node]:
                pairs[name] = output
                break
    return tuple(StatePair(input=name, output=output) for name, output in pairs.items())


def _origins(node: Node, calls: dict[Node, RecurrenceNode] | None) -> Iterator[Node]:
    """The placeholders that a value consists of, through shaping alone; with `calls` through a layer's states too."""
    seen, waiting = set[Node](), [node]
    while waiting:
        own = waiting.pop(0)
        if own in seen:
            continue
        seen.add(own)
        if own.op == "placeholder":
            yield own
        elif _name(own) == "getitem" and own.args[0] in (calls or ()):
            waiting += _state_before(own, (calls or {})[own.args[0]])  # type: ignore[index]
        elif _name(own) in _SHAPING:
            waiting += own.all_input_nodes


def _state_before(getter: Node, call: RecurrenceNode) -> list[Node]:
    """The state that a call's `hn` or `cn` comes after; none for its `output`."""
    kinds = len(call.states)
    place: Any = getter.args[1]
    kind = place - (len(call.node.meta["val"]) - kinds)
    return [call.states[kind]] if kinds and kind >= 0 else []


def _alike(first: Node, second: Node) -> bool:
    one, other = first.meta["val"], second.meta["val"]
    return bool(one.dtype == other.dtype and str(tuple(one.shape)) == str(tuple(other.shape)))


def _name(node: Node) -> str:
    return str(getattr(node.target, "__name__", node.target)).split(".")[0]
