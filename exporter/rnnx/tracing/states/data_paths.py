"""Following values through a traced program: which inputs are lengths, and which results are an input's next state."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.tracing.loops.markers import DOMAIN as LOOPS
from rnnx.tracing.opaque_layers import DOMAIN
from rnnx.tracing.recurrence_nodes import RecurrenceNode
from rnnx.tracing.states.blended_states import alike, blended_sources, operator_name
from rnnx_runtime.contract import StatePair

# fmt: off
SHAPING = frozenset((
    "view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "select", "slice", "unbind", "getitem", "stack",
    "cat", "permute", "transpose", "clone", "contiguous", "expand", "to", "_to_copy", "detach", "alias", "split",
    "split_with_sizes", "chunk", "narrow", "flatten", "unflatten", "index_select", "lift_fresh_copy",
))
# fmt: on
"""Operators that move values and change none."""


def lengths_inputs(program: ExportedProgram, names: Sequence[str], recurrences: Sequence[RecurrenceNode]) -> list[str]:
    """The inputs that reach a recurrent layer as its lengths, or that these are computed from, such as halved ones."""
    given: list[Any] = [own.node.args[0][3] for own in recurrences]  # type: ignore[index]
    counts = [own for node in given if isinstance(node, Node) for own in _counts_before(node)]
    return _reached(program, names, [node for node in counts if not node.meta["val"].is_floating_point()])


def _blended_before(node: Node, calls: dict[Node, RecurrenceNode]) -> Iterator[Node]:
    """The placeholders like a result that reach it by a layer's call and are blended before it, after it, or both."""
    sources = blended_sources(node)
    for source in sources:
        if operator_name(source) != "getitem" or source.all_input_nodes[0] not in calls:
            continue
        for state in _state_before(source, calls[source.all_input_nodes[0]]):
            for origin in blended_sources(state):
                is_kept = source is node or origin in sources  # `h + x` alone is a residual of the state, not the state
                if origin.op == "placeholder" and alike(origin, node) and is_kept:
                    yield origin


def state_inputs(program: ExportedProgram, names: Sequence[str], recurrences: Sequence[RecurrenceNode]) -> list[str]:
    """The inputs that reach a recurrent layer as its h0 or c0."""
    return _reached(program, names, [node for own in recurrences for node in own.states])


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
        for origin in _states_before(nodes[node], calls):
            name = by_input.get(origin.name)
            if name is not None and name not in pairs and alike(origin, nodes[node]):
                pairs[name] = output
                break
    for node, output in by_output.items():
        origins = {by_input[own.name]: own for own in _blended_before(nodes[node], calls) if own.name in by_input}
        if len(origins) == 1 and output not in pairs.values() and not origins.keys() & pairs.keys():
            pairs[next(iter(origins))] = output
    return tuple(StatePair(input=name, output=output) for name, output in pairs.items())


def _reached(program: ExportedProgram, names: Sequence[str], nodes: Sequence[Node]) -> list[str]:
    by_node = dict(zip(program.graph_signature.user_inputs, names, strict=True))
    found = {origin.name for node in nodes for origin in sources_of(node) if origin.op == "placeholder"}
    return [name for node, name in by_node.items() if node in found]


def _counts_before(node: Node) -> Iterator[Node]:
    """A value that is one number for each row, and all such values that it comes from, be it by a sort."""
    waiting, seen = [node], set[Node]()
    while waiting:
        own = waiting.pop(0)
        value = own.meta.get("val")
        is_count = isinstance(value, Tensor) and value.dim() == 1 and value.dtype != torch.bool
        if own in seen or not (is_count or isinstance(value, tuple | list)):
            continue
        seen.add(own)
        if is_count:
            yield own
        waiting += own.all_input_nodes


def _states_before(node: Node, calls: dict[Node, RecurrenceNode]) -> Iterator[Node]:
    """The placeholders that a result's state had before one or more calls of layers, one after another."""
    waiting, seen = [node], set[Node]()
    while waiting:
        for source in sources_of(waiting.pop(0)):
            if source in seen or operator_name(source) != "getitem" or source.all_input_nodes[0] not in calls:
                continue
            seen.add(source)
            before = _state_before(source, calls[source.all_input_nodes[0]])
            waiting += before
            yield from (origin for state in before for origin in sources_of(state) if origin.op == "placeholder")


def sources_of(node: Node) -> Iterator[Node]:
    """Where the parts of a value come from: the first nodes on the way back that do more than move values."""
    seen, waiting = set[Node](), [node]
    while waiting:
        own = waiting.pop(0)
        if own in seen:
            continue
        seen.add(own)
        moves = operator_name(own) in SHAPING and not (operator_name(own) == "getitem" and _is_call(own.args[0]))
        if moves:
            waiting += own.all_input_nodes
        else:
            yield own


def _is_call(node: Any) -> bool:
    return isinstance(node, Node) and node.kwargs.get("domain") in (DOMAIN, LOOPS)


def _state_before(getter: Node, call: RecurrenceNode) -> list[Node]:
    """The state that a call's `hn` or `cn` comes after; none for its `output`."""
    kinds = len(call.states)
    place: Any = getter.args[1]
    kind = place - (len(call.node.meta["val"]) - kinds)
    return [call.states[kind]] if kinds and kind >= 0 else []
