"""Names of the states of loops: what the model's line calls them, `h = …`, or what its cells do."""

import ast
import operator
from collections.abc import Collection, Iterator, Sequence
from itertools import count
from typing import Any

from torch.fx import Node

from rnnx.modules.source_lines import code_of_node
from rnnx.tracing.opaque_layers import DOMAIN as LAYERS
from rnnx.tracing.recurrence_nodes import attribute_of
from rnnx.tracing.states.lifted_states import prefix_of
from rnnx_runtime.contract import StatePair

Source = tuple[Node, int]
"""A node, and which part of its value."""


def state_pairs_of(states: Sequence[tuple[int, Source]], taken: Collection[str]) -> tuple[StatePair, ...]:
    """The pairs of states, each given by its loop's number and what gives the next; they avoid names `taken`."""
    named = [(_base(*source), _layer(source[0]), loop) for loop, source in states]
    found, used = list[StatePair](), set(taken)
    for base, layer, loop in named:
        alike = [own for own in named if own[0] == base]
        leads = [prefix_of(layer)] if layer else [f"loop{loop}_"]
        if len(alike) == 1:
            leads.insert(0, "")
        elif not layer and all(own[2] == loop for own in alike):
            leads = [""]
        pair = next(own for own in _pairs(leads, base) if used.isdisjoint((own.input, own.output)))
        used |= {pair.input, pair.output}
        found.append(pair)
    return tuple(found)


def _pairs(leads: Sequence[str], base: str) -> Iterator[StatePair]:
    """`h0` with `hn` for one letter as PyTorch has it, `hidden` with `hidden_out`; numbered where those are taken."""
    ends = ("0", "n") if len(base) == 1 else ("", "_out")
    yield from (StatePair(input=f"{lead}{base}{ends[0]}", output=f"{lead}{base}{ends[1]}") for lead in leads)
    for number in count(1):
        yield StatePair(input=f"{leads[0]}{base}_{number}", output=f"{leads[0]}{base}_{number}_out")


def _base(call: Node, part: int) -> str:
    """`h` or `c` of a recurrent layer, the variable that the line gives the value to, or `state`."""
    if own := _names(call):
        return own[part - 1]
    if call.kwargs.get("domain") == LAYERS:
        given: Any = call.args[0]
        kinds = 2 if given[2] is not None else 1
        return "hc"[max(0, part - len(call.meta["val"]) + kinds)]
    names = _assigned(code_of_node(call.meta))
    return names[part if part < len(names) else 0] if names else "state"


def variable_of(meta: dict[str, Any]) -> str:
    """The variable to which a node's line gives its value, or `state`."""
    return next(iter(_assigned(code_of_node(meta))), "state")


def _names(call: Node) -> list[str]:
    """What the model calls the states of a cell that is written by hand; none for another layer."""
    is_named = call.kwargs.get("domain") == LAYERS and "names" in call.kwargs["attr_keys"]  # type: ignore[operator]
    return list(attribute_of(call, "names")) if is_named else []


def _layer(call: Node) -> str:
    if _names(call):
        return ""
    return str(attribute_of(call, "layer")) if call.kwargs.get("domain") == LAYERS else ""


def source_of(node: Node) -> Source:
    """What a value is part of, and which part."""
    if node.target is not operator.getitem:
        return node, 0
    call, part = node.args
    assert isinstance(call, Node)
    assert isinstance(part, int)
    return call, part


def _assigned(code: str) -> list[str]:
    """The variables to which a line gives values; none for a line that does more, or ends on another."""
    try:
        statements = ast.parse(code.strip()).body
    except SyntaxError:
        return []
    if len(statements) != 1 or not isinstance(statements[0], ast.Assign):
        return []
    target = statements[0].targets[0]
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    return [own.id if isinstance(own, ast.Name) else "state" for own in parts]
