"""A loop of a rolled program as several that run one after the other, each reading what those before it gave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.rolled import (
    Carried,
    Element,
    Fused,
    Inner,
    Loop,
    Rolled,
    Span,
    State,
    Template,
    leaves_in,
    mapped,
)

Places = tuple[int, ...]

EACH_STEP = Affine(base=0, by_step=1)
"""The index of what another loop's step gave at the very same step."""


@dataclass(frozen=True, kw_only=True)
class LayerGroup:
    """Places of a step that are one call of a layer: the layer's own, but for what it reads, which is of the step.

    `results` are the layer's parts by the place and part that give them in the step.
    """

    places: Places
    own: Fused
    results: Mapping[tuple[int, int | None], int | None]


def split(rolled: Rolled, number: int, groups: Sequence[Places], layer: LayerGroup | None) -> Rolled:
    """The program with loop `number` as one loop for each group of places of its step, in this order.

    No place may read what a later group gives, nor a place of no group. The layer's group is that layer over all steps.
    """
    return _Splitter(rolled, number, [own for own in groups if own], layer).rolled()


def places_needed(loop: Loop, value: Any, known: Places = ()) -> set[int]:
    """The places of a step that a value is computed from, also in the steps before; those `known` need none."""
    found, waiting = set[int](), [value]
    while waiting:
        for leaf in leaves_in(waiting.pop()):
            if isinstance(leaf, State):
                waiting.append(loop.states[leaf.number].after)
            elif isinstance(leaf, Inner) and leaf.place not in found:
                found.add(leaf.place)
                waiting.append(() if leaf.place in known else loop.step[leaf.place].leaves)
    return found


def states_read(loop: Loop, value: Any) -> set[int]:
    """The numbers of the states that a value is computed from, be it by way of other places of the step."""
    leaves = [leaf for place in places_needed(loop, value) for leaf in leaves_in(loop.step[place].leaves)]
    return {leaf.number for leaf in (*leaves_in(value), *leaves) if isinstance(leaf, State)}


def states_of(loop: Loop, group: Places) -> list[int]:
    """The states that these places read, and those that such a state comes from."""
    found = set[int]()
    waiting: list[Any] = [loop.step[place].leaves for place in group]
    while waiting:
        for leaf in leaves_in(waiting.pop()):
            if isinstance(leaf, State) and leaf.number not in found:
                found.add(leaf.number)
                waiting.append(loop.states[leaf.number].after)
    return sorted(found)


def reads_only(rolled: Rolled, number: int, places: Places, allowed: set[tuple[int, Any]], last: set[Any]) -> bool:
    """Whether all that others read of these places of a loop's step is `allowed`, or `last` after the last step."""
    loop = rolled.loops[number]
    assert isinstance(loop, Loop)
    others = tuple(own for own in range(len(loop.step)) if own not in places)
    values = [loop.step[own].leaves for own in others] + [loop.states[own].after for own in states_of(loop, others)]
    read = {(leaf.place, leaf.part) for leaf in leaves_in(tuple(values)) if isinstance(leaf, Inner)}
    end = Affine(base=-1, by_length=1)
    for leaf in rolled.leaves:
        if isinstance(leaf, Element | Span) and leaf.loop == number:
            own = (leaf.place, leaf.part)
            is_last = isinstance(leaf, Element) and leaf.index == end and own in last
            read |= set() if is_last else {own}
    return {own for own in read if own[0] in places} <= allowed


class _Splitter:
    def __init__(self, rolled: Rolled, number: int, groups: Sequence[Places], layer: LayerGroup | None) -> None:
        loop = rolled.loops[number]
        assert isinstance(loop, Loop)
        self._program, self._number, self._loop, self._groups, self._layer = rolled, number, loop, groups, layer
        self._where = {
            place: (number + order, new) for order, group in enumerate(groups) for new, place in enumerate(group)
        }

    def rolled(self) -> Rolled:
        parts: list[Template | Loop | Fused] = []
        for part in self._program.parts:
            if part is self._loop:
                parts += [self._part(order, group) for order, group in enumerate(self._groups)]
            else:
                parts.append(self._moved(part))
        return replace(self._program, parts=tuple(parts), results=mapped(self._program.results, self._outside))

    def _part(self, order: int, group: Places) -> Loop | Fused:
        loop, home = self._loop, self._number + order
        kept = states_of(loop, group)

        def inside(leaf: Any) -> Any:
            if isinstance(leaf, State):
                return State(number=kept.index(leaf.number))
            if not isinstance(leaf, Inner):
                return leaf
            own, place, part = self._found(leaf)
            if own == home:
                return Inner(place=place, part=part)
            return Element(loop=own, place=place, part=part, index=EACH_STEP)

        if self._layer is not None and group == self._layer.places:
            own = self._layer.own
            return replace(own, x=mapped(own.x, inside))
        step = tuple(replace(loop.step[place], leaves=mapped(loop.step[place].leaves, inside)) for place in group)
        states = (loop.states[number] for number in kept)
        return replace(
            loop,
            step=step,
            states=tuple(Carried(first=own.first, after=mapped(own.after, inside)) for own in states),
            written={
                new: replace(loop.written[place], place=new, source=mapped(loop.written[place].source, inside))
                for new, place in enumerate(group)
                if place in loop.written
            },
        )

    def _moved(self, part: Template | Loop | Fused) -> Template | Loop | Fused:
        """Another part, with the loops' new numbers."""

        def moved(template: Template) -> Template:
            return replace(template, leaves=mapped(template.leaves, self._outside))

        if isinstance(part, Template):
            return moved(part)
        if isinstance(part, Fused):
            return replace(part, x=mapped(part.x, self._outside), firsts=mapped(part.firsts, self._outside))
        states = (replace(own, first=mapped(own.first, self._outside)) for own in part.states)
        return replace(part, step=tuple(map(moved, part.step)), states=tuple(states))

    def _outside(self, leaf: Any) -> Any:
        if not isinstance(leaf, Element | Span) or leaf.loop < self._number:
            return leaf
        if leaf.loop > self._number:
            return replace(leaf, loop=leaf.loop + len(self._groups) - 1)
        loop, place, part = self._found(leaf)
        return replace(leaf, loop=loop, place=place, part=part)

    def _found(self, leaf: Inner | Element | Span) -> tuple[int, int, int | None]:
        """The loop, place and part where a value of the step is now."""
        loop, place = self._where[leaf.place]
        if self._layer is not None and leaf.place in self._layer.places:
            return loop, 0, self._layer.results[leaf.place, leaf.part]
        return loop, place, leaf.part
