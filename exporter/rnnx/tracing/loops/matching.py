"""The step of a repeat: what it takes over from the step before, what it reads of sequences, what stays the same."""

from collections.abc import Sequence
from typing import Any

from torch.utils import _pytree as pytree

from rnnx.tracing.loops.references import Coordinates, PatternError, Value, is_tensor, unified_slices
from rnnx.tracing.loops.repeats import Repeat
from rnnx.tracing.loops.rolled import Carried, Inner, Loop, State, Template
from rnnx.tracing.loops.unrolled import Unrolled
from rnnx.tracing.loops.values import Filled, Instruction, Ref, Slice
from rnnx.tracing.loops.writing import with_writes


def gathers(instruction: Instruction) -> bool:
    """Whether an instruction makes one tensor of a list of them."""
    return instruction.name in ("stack", "cat")


def list_and_axis(instruction: Instruction) -> tuple[list[Any], int]:
    """The list of tensors and the axis of a `stack` or `cat`."""
    args, kwargs = pytree.tree_unflatten(list(instruction.leaves), instruction.structure)
    axis = args[1] if len(args) > 1 else kwargs.get("dim", 0)
    return list(args[0]), axis


def loop_of(programs: Sequence[Unrolled], coordinates: Coordinates, repeat: Repeat) -> Loop:
    """The loop that a repeat is.

    Raises:
        PatternError: its pieces are no steps of one loop; says why.
    """
    return _Matcher(programs, coordinates, repeat).loop()


class _Matcher:
    def __init__(self, programs: Sequence[Unrolled], coordinates: Coordinates, repeat: Repeat) -> None:
        self._programs = programs
        self._coordinates = coordinates
        self._repeat = repeat
        self._states: list[Carried] = []

    def loop(self) -> Loop:
        fewer = {own.length - count for own, count in zip(self._programs, self._repeat.counts, strict=True)}
        if len(fewer) != 1:
            raise PatternError("a loop of another length than the axis")
        step = tuple(self._template(place) for place in range(self._repeat.size))
        return with_writes(Loop(step=step, states=tuple(self._states), fewer=fewer.pop()))

    def _template(self, place: int) -> Template:
        own = [(trace, step, self._instruction(trace, step, place)) for trace, step in self._steps()]
        first = own[-1][2]
        self._check_shapes(own)
        if gathers(first):
            lists = [list_and_axis(instruction) for _, _, instruction in own]
            if len({(len(tensors), axis) for tensors, axis in lists}) != 1:
                raise PatternError("a list that is longer at each step")
            columns = zip(*(tensors for tensors, _ in lists), strict=True)
            return Template(instruction=first, leaves=(tuple(self._leaf(own, each) for each in columns), lists[0][1]))
        if len({(len(instruction.leaves), str(instruction.structure)) for _, _, instruction in own}) != 1:
            raise PatternError("arguments of another number at each step")
        columns = zip(*(instruction.leaves for _, _, instruction in own), strict=True)
        return Template(instruction=first, leaves=tuple(self._leaf(own, each) for each in columns))

    def _steps(self) -> list[tuple[int, int]]:
        return [(trace, step) for trace, count in enumerate(self._repeat.counts) for step in range(count)]

    def _instruction(self, trace: int, step: int, place: int) -> Instruction:
        start = self._repeat.starts[trace]
        return self._programs[trace].instructions[start + step * self._repeat.size + place]

    def _check_shapes(self, own: Sequence[tuple[int, int, Instruction]]) -> None:
        """The first step's may be smaller, where its states are broadcast."""
        for trace in range(len(self._programs)):
            shapes = [instruction.shapes for number, step, instruction in own if number == trace and step > 0]
            if any(shape != shapes[0] for shape in shapes):
                raise PatternError("a step that changes the shape of what it computes")

    def _leaf(self, own: Sequence[tuple[int, int, Instruction]], leaves: Sequence[Any]) -> Any:
        return self._unified(
            [
                Value(trace=trace, step=step, length=self._programs[trace].length, leaf=leaf)
                for (trace, step, _), leaf in zip(own, leaves, strict=True)
            ]
        )

    def _unified(self, values: Sequence[Value]) -> Any:
        if all(isinstance(own.leaf, Slice) for own in values):
            return unified_slices(values, self._unified)
        last = values[-1]
        inside = self._inside(last)
        if inside is None:
            if any(self._inside(value) is not None for value in values):
                raise PatternError("a value that comes from elsewhere at each step")
            return self._coordinates.unified(values)
        back = last.step - inside[0]
        for value in values:
            found = self._inside(value)
            if (value.step < back) != (found is None) or (found is not None and value.step - found[0] != back):
                raise PatternError("a value that comes from elsewhere at each step")
        result = self._result([own for own in values if own.step >= back])
        return result if back == 0 else self._state(values, result, back)

    def _result(self, values: Sequence[Value]) -> Inner | Slice:
        """What of a step all these are, whichever step it is."""
        if isinstance(values[0].leaf, Slice):
            return unified_slices(values, self._result)
        kinds = {(found[1], own.leaf.part) for own in values if (found := self._inside(own)) is not None}
        if len(kinds) != 1:
            raise PatternError("a value that comes from elsewhere at each step")
        place, part = kinds.pop()
        return Inner(place=place, part=part)

    def _inside(self, value: Value) -> tuple[int, int] | None:
        """The step and place of a value of this very loop."""
        start, count, leaf = self._repeat.starts[value.trace], self._repeat.counts[value.trace], value.leaf
        while isinstance(leaf, Slice):
            leaf = leaf.source
        if not isinstance(leaf, Ref) or not start <= leaf.place < start + count * self._repeat.size:
            return None
        return divmod(leaf.place - start, self._repeat.size)

    def _state(self, values: Sequence[Value], result: Inner | Slice, back: int) -> State:
        """The state that holds what the step gave `back` steps ago."""
        firsts = [self._coordinates.unified([value for value in values if value.step == step]) for step in range(back)]
        before: State | None = None
        for distance in range(1, back + 1):
            first = _tensor(firsts[back - distance])
            before = self._numbered(Carried(first=first, after=before or result))
        assert before is not None
        return before

    def _numbered(self, state: Carried) -> State:
        for number, own in enumerate(self._states):
            if own.after == state.after and _is_equal(own.first, state.first):
                return State(number=number)
        self._states.append(state)
        return State(number=len(self._states) - 1)


def _tensor(first: Any) -> Any:
    if not is_tensor(first) and isinstance(first, int | float):
        raise PatternError("a state that is a number at first")
    return first


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, Filled) and isinstance(other, Filled):
        return one == other
    return one is other or one == other
