"""A loop that writes each step's result into a tensor made before, `out[:, t] = y`: all steps' results in a row."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.rolled import Carried, Inner, Loop, State, Template, Written, leaves_in, mapped
from rnnx.tracing.loops.values import Filled

_SCATTERS = {"aten.select_scatter.default": False, "aten.slice_scatter.default": True}
"""The operators that write into one place, and whether they keep the axis."""


def with_writes(loop: Loop) -> Loop:
    """The loop with the tensors that its steps fill as results instead of states."""
    for number in reversed(range(len(loop.states))):
        found = _written(loop, number)
        if found is not None:
            loop = _without_state(loop, number, found)
    return loop


def _written(loop: Loop, number: int) -> Written | None:
    """How the steps fill the tensor that a state is; None where they read it too, or leave something of it."""
    after, first = loop.states[number].after, loop.states[number].first
    if not isinstance(after, Inner) or loop.fewer or not isinstance(first, Filled):
        return None
    template = loop.step[after.place]
    keeps = _SCATTERS.get(str(template.instruction.target))
    if keeps is None or len(template.leaves) < 4 + keeps or template.leaves[0] != State(number=number):
        return None
    source, axis, start = template.leaves[1:4]
    if first.sizes[axis] != Affine(base=0, by_length=1) or not isinstance(start, Affine):
        return None
    backwards = start == Affine(base=-1, by_step=-1, by_length=1)
    one = not keeps or template.leaves[4] == replace(start, base=start.base + 1)
    if not (backwards or start == Affine(base=0, by_step=1)) or not one or not _is_inner(source):
        return None
    reads = [own for each in loop.step for own in leaves_in(each.leaves)]
    reads += [own for each in loop.states for own in leaves_in(each.after)]
    if reads.count(State(number=number)) > 1 or reads.count(after) > 1:
        return None
    return Written(place=after.place, source=source, axis=axis, keeps=keeps, backwards=backwards)


def _is_inner(source: Any) -> bool:
    """Whether each step writes what it computes."""
    return any(isinstance(own, Inner) for own in leaves_in(source))


def _without_state(loop: Loop, number: int, written: Written) -> Loop:
    def renumbered(value: Any) -> Any:
        def own(leaf: Any) -> Any:
            return State(number=leaf.number - 1) if isinstance(leaf, State) and leaf.number > number else leaf

        return mapped(value, own)

    step = tuple(
        Template(instruction=own.instruction, leaves=renumbered(own.leaves))
        if place != written.place
        else Template(instruction=own.instruction, leaves=(renumbered(written.source),))
        for place, own in enumerate(loop.step)
    )
    states: Iterable[Carried] = (own for place, own in enumerate(loop.states) if place != number)
    return replace(
        loop,
        step=step,
        states=tuple(Carried(first=own.first, after=renumbered(own.after)) for own in states),
        written={**loop.written, written.place: written},
    )
