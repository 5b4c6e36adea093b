"""The places of a graph where a state goes in and comes out: recurrent nodes, loops, and joins along time."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rnnx.adopting.cell_states import CellState, cell_starts, is_told
from rnnx.adopting.handed_values import HandedValues, Value, carried_count
from rnnx.linting.rules.recurrences import recurrences_of
from rnnx.linting.rules.scopes import Scope, is_onnx
from rnnx.linting.rules.written_cells import WrittenCell, written_cells

_STATES: tuple[CellState, ...] = ("h", "c")

Place = tuple[str, str]
"""A node's first output with its operator, and which of its states."""


@dataclass(frozen=True, kw_only=True)
class StateSites:
    """By value the places that it starts, and those that it is the end of.

    `joins` are the weaker ones, where other values go in beside a state; `wholes` are whole sequences, which are their
    last state too where a call has one step.
    """

    starts: Mapping[Value, tuple[Place, ...]]
    ends: Mapping[Value, tuple[Place, ...]]
    wholes: Mapping[Value, tuple[Place, ...]]
    joins: frozenset[Place]


def state_sites(handed: HandedValues) -> StateSites:
    """Every such place of a model.

    A Concat counts as one: a cache goes in beside new frames, and the next cache is cut out of what it gives.
    """
    starts, ends = defaultdict[Value, list[Place]](list), defaultdict[Value, list[Place]](list)
    wholes = defaultdict[Value, list[Place]](list)
    joins = set[Place]()
    for scope in handed.scopes:
        cells = written_cells(scope)
        for cell, state, name in cell_starts(scope, cells):
            starts[handed.value(scope, name)].append(_cell_place(cell, state))
        joins.update(_cell_place(cell, state) for cell in cells for state in _STATES if not is_told(cell, state))
        for name, place in (*_starts(scope), *_joined(scope)):
            starts[handed.value(scope, name)].append(place)
        for layer in recurrences_of(scope):
            wholes[handed.value(scope, layer.outputs[0])].append((layer.shown, "h"))
        for name, place in (*_ends(scope), *_join_ends(scope)):
            ends[handed.value(scope, name)].append(place)
        joins.update(place for _, place in _joined(scope))
    return StateSites(
        starts={value: tuple(own) for value, own in starts.items()},
        ends={value: tuple(own) for value, own in ends.items()},
        wholes={value: tuple(own) for value, own in wholes.items()},
        joins=frozenset(joins),
    )


def _starts(scope: Scope) -> Iterator[tuple[str, Place]]:
    for layer in recurrences_of(scope):
        for kind, name in zip("hc", layer.initial_states, strict=False):
            if name:
                yield name, (layer.shown, kind)
    for node in scope.nodes:
        if is_onnx(node, "Loop", "Scan"):
            first = 2 if node.op_type == "Loop" else 0
            for number, name in enumerate(node.input[first : first + carried_count(node)]):
                if name:
                    yield name, (_shown(node.op_type, node.output), str(number))


def _ends(scope: Scope) -> Iterator[tuple[str, Place]]:
    for layer in recurrences_of(scope):
        for kind, name in zip("hc", layer.outputs[1:], strict=True):
            if name:
                yield name, (layer.shown, kind)
    for node in scope.nodes:
        if is_onnx(node, "Loop", "Scan"):
            for number, name in enumerate(node.output[: carried_count(node)]):
                if name:
                    yield name, (_shown(node.op_type, node.output), str(number))
    for own in written_cells(scope):
        yield own.node.output[0], _cell_place(own, "h")
        if own.cell_state is not None:
            yield own.cell_state.output[0], _cell_place(own, "c")


def _cell_place(cell: WrittenCell, state: CellState) -> Place:
    return _shown(f"{cell.operator} cell", cell.node.output), state


def _joined(scope: Scope) -> Iterator[tuple[str, Place]]:
    for node in scope.nodes:
        if is_onnx(node, "Concat") and len(node.input) > 1:
            for name in filter(None, node.input):
                yield name, (_shown("Concat", node.output), "cache")


def _join_ends(scope: Scope) -> Iterator[tuple[str, Place]]:
    for node in scope.nodes:
        if is_onnx(node, "Concat") and len(node.input) > 1:
            yield node.output[0], (_shown("Concat", node.output), "cache")


def _shown(operator: str, outputs: Sequence[str]) -> str:
    return f"{operator} {outputs[0]!r}" if outputs else operator
