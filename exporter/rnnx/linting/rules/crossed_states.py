"""`states-crossed` and `states-unpaired`: states that a caller hands to, or takes from, the wrong place.

Servers that keep states themselves, such as Triton's sequence batcher, pair inputs and outputs by name alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rnnx.linting.findings import Finding
from rnnx.linting.rules.examined_model import ExaminedModel
from rnnx.linting.rules.recurrences import Recurrence
from rnnx.linting.rules.scopes import Scope, shown
from rnnx.linting.rules.state_ends import Part, ends_of_state, kind_of_name, origin_of_state
from rnnx.linting.rules.written_cells import written_cells

_Dims = tuple[int | None, ...]

_FIX = "wire h to h and c to c and each layer to its own part, or rename the model's inputs and outputs"


@dataclass(frozen=True, kw_only=True)
class _State:
    """One state of one layer: `h` or `c`, where it comes from, where it goes."""

    kind: str
    shown: str
    origin: Part | None
    ends: tuple[Part, ...]


def find(model: ExaminedModel) -> Iterator[Finding]:
    """States under each other's names, parts that two layers take, parts in another order, and unequal pairs."""
    for part in model.parts:
        pairs = [*_of_cells(part.scope), *(tuple(_of_layer(layer)) for layer in part.layers)]
        states = [state for pair in pairs for state in pair]
        for pair in pairs:
            yield from _other_names(pair)
        for state in states:
            yield from _unpaired(model.main.scope, state)
        for kind in ("h", "c"):
            own = [state for state in states if state.kind == kind]
            yield from _taken_twice(own)
            yield from _other_order(own)


def _of_layer(layer: Recurrence) -> Iterator[_State]:
    finals = layer.outputs[1:]
    for kind, first, last in zip("hc", layer.initial_states, finals, strict=False):
        yield _State(
            kind=kind,
            shown=layer.shown,
            origin=origin_of_state(layer.scope, first) if first else None,
            ends=tuple(ends_of_state(layer.scope, last)) if last else (),
        )


def _of_cells(scope: Scope) -> Iterator[tuple[_State, ...]]:
    """The states of steps that are written out: of an LSTM alone, whose two can be taken for each other."""
    for cell in written_cells(scope):
        if cell.cell_state is not None:
            yield tuple(
                _State(kind=kind, shown=shown(node), origin=None, ends=tuple(ends_of_state(scope, node.output[0])))
                for kind, node in (("h", cell.node), ("c", cell.cell_state))
            )


def _other_names(states: Sequence[_State]) -> Iterator[Finding]:
    """An LSTM's states whose names in the model are each other's; a pair of one name says nothing."""
    if len(states) != 2:
        return
    for place in range(1 + max(len(state.ends) for state in states)):
        parts = [(state.origin, *state.ends)[place] if place <= len(state.ends) else None for state in states]
        kinds = [kind_of_name(part.name) if part is not None else "" for part in parts]
        for state, part, own, other in zip(states, parts, kinds, reversed(kinds), strict=True):
            if part is not None and own not in ("", state.kind) and own != other:
                role = "comes from the input" if place == 0 else "is given back as"
                what = f"its {_word(state.kind)} state {role} {part.name!r}, whose name is of the other one"
                yield _crossed(state, what)


def _taken_twice(states: list[_State]) -> Iterator[Finding]:
    seen: dict[tuple[str, int], _State] = {}
    for state in states:
        if state.origin is not None and state.origin.place is not None:
            key = (state.origin.name, state.origin.place)
            first = seen.setdefault(key, state)
            if first is not state and first.ends and state.ends and first.ends != state.ends:
                what = f"its {_word(state.kind)} state is part {key[1]} of {key[0]!r}, which {first.shown} takes, too"
                yield _crossed(state, what)


def _other_order(states: list[_State]) -> Iterator[Finding]:
    """Layers whose parts go in in one order and come out in another."""
    known = [
        (state.origin.name, end.name, state.origin.place, end.place, state)
        for state in states
        if state.origin is not None and state.origin.place is not None
        for end in state.ends
        if end.place is not None
    ]
    for source, target, place, other, state in known:
        pairs = sorted((own[2], own[3]) for own in known if own[:2] == (source, target))
        outs = [own[1] for own in pairs]
        if outs != sorted(outs) and outs.index(other) != sorted(outs).index(other):
            what = f"it takes part {place} of {source!r} and gives its state back as part {other} of {target!r}"
            yield _crossed(state, what)


def _crossed(state: _State, what: str) -> Finding:
    return Finding(
        rule="states-crossed",
        severity="warning",
        node=state.shown,
        message=f"{what}: who feeds states back by their names or places gives each layer another one's",
        fix=_FIX,
    )


def _unpaired(scope: Scope, state: _State) -> Iterator[Finding]:
    source = state.origin.name if state.origin is not None else ""
    for end in state.ends if source else ():
        first, last = scope.dims(source), scope.dims(end.name)
        if first is not None and last is not None and _are_unequal(first, last):
            yield Finding(
                rule="states-unpaired",
                severity="warning",
                node=state.shown,
                message=f"its state comes from {source!r} {_dims(first)} and is given back as {end.name!r} "
                f"{_dims(last)}: a call's result is no input of the next",
                fix="give back the states of all layers and directions, as they are taken",
            )


def _are_unequal(first: _Dims, last: _Dims) -> bool:
    """Whether two tensors of one rank have another size somewhere; of two ranks, a caller may squeeze one."""
    pairs = zip(first, last, strict=False)
    return len(first) == len(last) and any(None not in (own, other) and own != other for own, other in pairs)


def _dims(dims: _Dims) -> str:
    return f"({', '.join('…' if dim is None else str(dim) for dim in dims)})"


def _word(kind: str) -> str:
    return {"h": "hidden", "c": "cell"}[kind]
