"""A loop of a rolled program as several that run one after the other, each reading what those before it gave."""

from collections.abc import Sequence
from dataclasses import replace
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


def split(rolled: Rolled, number: int, groups: Sequence[Places], layer: int | None) -> Rolled:
    """The program with loop `number` as one loop for each group of places of its step, in this order.

    No place may read what a later group gives. The group of the place `layer` alone is that layer over all steps.
    """
    return _Splitter(rolled, number, [own for own in groups if own], layer).rolled()


def places_needed(loop: Loop, value: Any) -> set[int]:
    """The places of a step that a value is computed from, also in the steps before."""
    found, waiting = set[int](), [value]
    while waiting:
        for leaf in leaves_in(waiting.pop()):
            if isinstance(leaf, State):
                waiting.append(loop.states[leaf.number].after)
            elif isinstance(leaf, Inner) and leaf.place not in found:
                found.add(leaf.place)
                waiting.append(loop.step[leaf.place].leaves)
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


class _Splitter:
    def __init__(self, rolled: Rolled, number: int, groups: Sequence[Places], layer: int | None) -> None:
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
            own, place = self._where[leaf.place]
            if own == home:
                return Inner(place=place, part=leaf.part)
            return Element(loop=own, place=place, part=leaf.part, index=EACH_STEP)

        step = tuple(replace(loop.step[place], leaves=mapped(loop.step[place].leaves, inside)) for place in group)
        if group == (self._layer,):
            given = [leaf for leaf in loop.step[group[0]].leaves if isinstance(leaf, State)]
            return Fused(template=step[0], firsts=tuple(loop.states[own.number].first for own in given))
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
            return Fused(template=moved(part.template), firsts=mapped(part.firsts, self._outside))
        states = (replace(own, first=mapped(own.first, self._outside)) for own in part.states)
        return replace(part, step=tuple(map(moved, part.step)), states=tuple(states))

    def _outside(self, leaf: Any) -> Any:
        if not isinstance(leaf, Element | Span) or leaf.loop < self._number:
            return leaf
        if leaf.loop > self._number:
            return replace(leaf, loop=leaf.loop + len(self._groups) - 1)
        loop, place = self._where[leaf.place]
        return replace(leaf, loop=loop, place=place)
