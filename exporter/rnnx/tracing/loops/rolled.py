"""What a rolled program is made of: instructions that run once, and loops with a step, its states and its sequences."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.values import Instruction, Slice


@dataclass(frozen=True, kw_only=True)
class Once:
    """The result of an instruction that runs once, by its number."""

    number: int
    part: int | None = None


@dataclass(frozen=True, kw_only=True)
class Inner:
    """The result of an instruction of the step, by its place in the step."""

    place: int
    part: int | None = None


@dataclass(frozen=True, kw_only=True)
class State:
    """A value that the step takes over from the step before, by its number among the loop's states."""

    number: int


@dataclass(frozen=True, kw_only=True)
class Element:
    """What a loop's step gives at one index: the loop's number, the value's place in the step, and the index."""

    loop: int
    place: int
    part: int | None
    index: Affine


@dataclass(frozen=True, kw_only=True)
class Span:
    """What a loop's step gives at several indices one after another: from `first` on, `count` of them, up or down.

    `cuts` are the slices that are taken of each.
    """

    loop: int
    place: int
    part: int | None
    first: Affine
    count: Affine
    downwards: bool
    cuts: tuple[Slice, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Varying:
    """A constant tensor that is another at each step: `base + by_step * step`."""

    base: Any
    by_step: Any


@dataclass(frozen=True, kw_only=True)
class Template:
    """An instruction whose values hold at every length: `leaves` are numbered values, lines and plain ones."""

    instruction: Instruction
    leaves: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A state of a loop: its first value, and what becomes the next.

    That is of the step, a slice of it, another state, or what an earlier loop gives at the same step.
    """

    first: Any
    after: Inner | State | Slice | Element


@dataclass(frozen=True, kw_only=True)
class Written:
    """A tensor that the steps fill, each one place of an axis, with `source`: the instruction at `place` gives it."""

    place: int
    source: Any
    axis: int
    keeps: bool
    backwards: bool


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A loop: its step, its states, how many steps it has fewer than its length, and the tensors that it fills.

    An instruction of the step that writes into one has what it writes as its only leaf.
    """

    step: tuple[Template, ...]
    states: tuple[Carried, ...]
    fewer: int
    written: Mapping[int, Written] = field(default_factory=dict)

    @property
    def last_states(self) -> Mapping[tuple[int, int | None], int]:
        """The number of the state that a value of the step becomes, by the value's place and part."""
        return {
            (own.after.place, own.after.part): number
            for number, own in reversed(list(enumerate(self.states)))
            if isinstance(own.after, Inner)
        }


@dataclass(frozen=True, kw_only=True)
class Fused:
    """A recurrent layer or cell that takes all steps of a loop in one call; it counts as a loop of one step.

    `x` is what it reads at a step, several values side by side, `firsts` are the states of the first step, and `shapes`
    those of the results of a step. `time` is which axis of a frame has the time, None for a cell. `names` are what the
    model calls the states of a cell that is written by hand.
    """

    layer: str
    x: tuple[Any, ...]
    firsts: tuple[Any, ...]
    shapes: tuple[tuple[Any, ...], ...]
    time: int | None
    batched: bool
    meta: dict[str, Any]
    names: tuple[str, ...] = ()

    def shape_of(self, part: int | None) -> tuple[Any, ...]:
        """The shape of one of the results of a step."""
        return self.shapes[part or 0]


@dataclass(frozen=True, kw_only=True)
class Rolled:
    """A program at every length: its parts in order, each an instruction that runs once or a loop, and its results."""

    parts: tuple[Template | Loop | Fused, ...]
    results: tuple[Any, ...]
    length: Affine

    @property
    def loops(self) -> tuple[Loop | Fused, ...]:
        """Its loops by number."""
        return tuple(own for own in self.parts if not isinstance(own, Template))

    @property
    def leaves(self) -> Iterator[Any]:
        """Every value that something reads, but for the next states of loops."""
        yield from leaves_in(self.results)
        for part in self.parts:
            if isinstance(part, Loop):
                yield from leaves_in(tuple(own.leaves for own in part.step))
                yield from leaves_in(tuple(own.first for own in part.states))
            else:
                yield from leaves_in((part.x, part.firsts) if isinstance(part, Fused) else part.leaves)


def leaves_in(value: Any) -> Iterator[Any]:
    """A value and those that it is made of: the members of a list, the source of a slice."""
    yield value
    for own in value if isinstance(value, tuple) else (value.source,) if isinstance(value, Slice) else ():
        yield from leaves_in(own)


def mapped(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """A value with each of the values that it is made of replaced by what `leaf` makes of it."""
    if isinstance(value, tuple):
        return tuple(mapped(own, leaf) for own in value)
    if isinstance(value, Slice):
        return leaf(replace(value, source=mapped(value.source, leaf)))
    return leaf(value)
