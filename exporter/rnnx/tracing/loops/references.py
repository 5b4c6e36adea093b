"""What a value is at every step and length, from what it is in three traces."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from rnnx.tracing.loops.affine import Affine, Sample, fitted
from rnnx.tracing.loops.repeats import Repeat
from rnnx.tracing.loops.rolled import Element, Once, Span, Varying
from rnnx.tracing.loops.unrolled import Unrolled
from rnnx.tracing.loops.values import TENSOR_VALUES, Constant, Filled, Ref, Size, Slice


class PatternError(Exception):
    """A value that follows no rule over steps and lengths; the text says what it is."""


@dataclass(frozen=True, kw_only=True)
class Coordinate:
    """Where an instruction of a trace stands: `number` among those that run once, or the step and place in a loop."""

    number: int = -1
    loop: int = -1
    step: int = 0
    place: int = 0


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value of one trace: the trace, the step it is read in, the length, and what it is."""

    trace: int
    step: int
    length: int
    leaf: Any


class Coordinates:
    """The coordinates of all instructions of the traces, filled in as their parts are found."""

    def __init__(self, programs: Sequence[Unrolled]) -> None:
        self._found: list[list[Coordinate]] = [[] for _ in programs]

    def add_once(self, number: int) -> None:
        """The next instruction of each trace is one that runs once."""
        for own in self._found:
            own.append(Coordinate(number=number))

    def add_loop(self, loop: int, repeat: Repeat) -> None:
        """The next instructions of each trace are a loop's."""
        for own, count in zip(self._found, repeat.counts, strict=True):
            own += [
                Coordinate(loop=loop, step=step, place=place) for step in range(count) for place in range(repeat.size)
            ]

    def ahead(self, number: int, count: int) -> "Coordinates":
        """The same with the next `count` instructions taken for ones that run once."""
        found = Coordinates([])
        found._found = [[*own, *(Coordinate(number=number + more) for more in range(count))] for own in self._found]
        return found

    def of(self, trace: int, place: int) -> Coordinate | None:
        """Where an instruction stands; None for one whose part is not known yet."""
        return self._found[trace][place] if place < len(self._found[trace]) else None

    def unified(self, values: Sequence[Value]) -> Any:
        """The rule of a value that comes from outside of the loop that is looked at.

        Raises:
            PatternError: there is none.
        """
        first = values[0].leaf
        if isinstance(first, Slice):
            return unified_slices(values, self.unified)
        if isinstance(first, Ref):
            return self._unified_refs(values)
        if isinstance(first, Constant):
            return _unified_constants(values)
        if isinstance(first, Filled):
            return _unified_filled(values)
        if _is_number(first):
            return _unified_numbers(values)
        if any(own.leaf != first for own in values):
            raise PatternError("another value at each step")
        return first

    def spans(self, lists: Sequence[Sequence[Any]], lengths: Sequence[int]) -> tuple[Any, ...]:
        """The parts of a list of tensors, those that a loop's steps give in a row as one each.

        Raises:
            PatternError: the lists of the traces do not have the same parts.
        """
        parts = [self._parts(trace, own) for trace, own in enumerate(lists)]
        if len({len(own) for own in parts}) != 1:
            raise PatternError("a list that grows in another way than by one tensor a step")
        return tuple(self._span(own, lengths) for own in zip(*parts, strict=True))

    def _parts(self, trace: int, leaves: Sequence[Any]) -> list[list[Any]]:
        found: list[list[Any]] = []
        way = 0
        for leaf in leaves:
            turn = self._turn(trace, found[-1][-1], leaf) if found else 0
            if turn and way in (0, turn):
                found[-1].append(leaf)
                way = turn
            else:
                found.append([leaf])
                way = 0
        return found

    def _turn(self, trace: int, before: Any, leaf: Any) -> int:
        """1 or -1 where a value is the next or the previous step's of the one before it, else 0."""
        if _cuts(before) != _cuts(leaf):
            return 0
        before, leaf = _cut(before), _cut(leaf)
        if not isinstance(before, Ref) or not isinstance(leaf, Ref) or before.part != leaf.part:
            return 0
        one, other = self.of(trace, before.place), self.of(trace, leaf.place)
        if one is None or other is None or one.loop < 0 or (one.loop, one.place) != (other.loop, other.place):
            return 0
        return other.step - one.step if abs(other.step - one.step) == 1 else 0

    def _span(self, parts: Sequence[Sequence[Any]], lengths: Sequence[int]) -> Any:
        def values(leaves: Sequence[Any]) -> list[Value]:
            return [
                Value(trace=trace, step=0, length=length, leaf=leaf)
                for trace, (leaf, length) in enumerate(zip(leaves, lengths, strict=True))
            ]

        if all(len(own) == 1 for own in parts):
            return self.unified(values([own[0] for own in parts]))
        first = self.unified(values([_cut(own[0]) for own in parts]))
        last = self.unified(values([_cut(own[-1]) for own in parts]))
        count = fitted([Sample(step=0, length=n, value=len(own)) for own, n in zip(parts, lengths, strict=True)])
        if not isinstance(first, Element) or not isinstance(last, Element) or count is None:
            raise PatternError("a list that grows in another way than by one tensor a step")
        trace = next(number for number, own in enumerate(parts) if len(own) > 1)
        if any(_cuts(own[0]) != _cuts(parts[0][0]) for own in parts):
            raise PatternError("slices that differ with the length")
        return Span(
            loop=first.loop,
            place=first.place,
            part=first.part,
            first=first.index,
            count=count,
            downwards=self._turn(trace, *parts[trace][:2]) < 0,
            cuts=_cuts(parts[0][0]),
        )

    def _unified_refs(self, values: Sequence[Value]) -> Once | Element:
        if not all(isinstance(own.leaf, Ref) for own in values):
            raise PatternError("now a tensor and now a number")
        found = [self.of(own.trace, own.leaf.place) for own in values]
        parts = {own.leaf.part for own in values}
        kinds = {None if own is None else (own.number, own.loop, own.place if own.loop >= 0 else 0) for own in found}
        if len(kinds) != 1 or len(parts) != 1 or None in kinds:
            raise PatternError("a value that comes from elsewhere at each step")
        first, part = found[0], parts.pop()
        assert first is not None
        if first.loop < 0:
            return Once(number=first.number, part=part)
        samples = [
            Sample(step=own.step, length=own.length, value=place.step)
            for own, place in zip(values, found, strict=True)
            if place is not None
        ]
        index = fitted(samples)
        if index is None:
            raise PatternError("results of a loop in no order")
        return Element(loop=first.loop, place=first.place, part=part, index=index)


def unified_slices(values: Sequence[Value], unified: Callable[[Sequence[Value]], Any]) -> Slice:
    """The rule of slices; `unified` finds their sources'.

    Raises:
        PatternError: there is none.
    """
    first = values[0].leaf
    if not all(isinstance(own.leaf, Slice) and _kind(own.leaf) == _kind(first) for own in values):
        raise PatternError("now a slice and now a whole tensor")
    start = as_line(_unified_numbers([replace(own, leaf=own.leaf.start) for own in values]))
    length = as_line(_unified_numbers([replace(own, leaf=own.leaf.length) for own in values]))
    if length.by_step:
        raise PatternError("a slice that is longer at each step")
    source = unified([replace(own, leaf=own.leaf.source) for own in values])
    return Slice(source=source, axis=first.axis, start=start, length=length, keeps=first.keeps)


def _cut(leaf: Any) -> Any:
    """What slices are taken of."""
    while isinstance(leaf, Slice):
        leaf = leaf.source
    return leaf


def _cuts(leaf: Any) -> tuple[Slice, ...]:
    """The slices that are taken of a value, the first one first, without what they are taken of."""
    return (*_cuts(leaf.source), replace(leaf, source=None)) if isinstance(leaf, Slice) else ()


def as_line(number: Any) -> Affine:
    """A number as a line."""
    return number if isinstance(number, Affine) else Affine(base=number)


def _kind(leaf: Slice) -> tuple[int, bool]:
    return leaf.axis, leaf.keeps


def _unified_numbers(values: Sequence[Value]) -> Any:
    first = values[0].leaf
    if all(own.leaf == first and type(own.leaf) is type(first) for own in values):
        return first if not isinstance(first, Size) else Affine(base=first.expression)
    if not all(_is_number(own.leaf) for own in values):
        raise PatternError("now a number and now a tensor")
    line = fitted([Sample(step=own.step, length=own.length, value=own.leaf) for own in values])
    if line is None:
        raise PatternError("a number that grows in no straight line with the step")
    return line


def _unified_constants(values: Sequence[Value]) -> Constant | Varying:
    if not all(isinstance(own.leaf, Constant) for own in values):
        raise PatternError("now a constant and now a tensor")
    first: torch.Tensor = values[0].leaf.tensor
    if any(own.leaf.tensor.shape != first.shape or own.leaf.tensor.dtype != first.dtype for own in values):
        raise PatternError("a constant of another size at each step")
    if all(torch.equal(own.leaf.tensor, first) for own in values):
        found: Constant = values[0].leaf
        return found
    later = next((own for own in values if own.step == values[0].step + 1 and own.trace == values[0].trace), None)
    if later is None or first.dtype == torch.bool:
        raise PatternError("a constant that differs between lengths")
    by_step = later.leaf.tensor - first
    base = first - values[0].step * by_step
    if not all(torch.allclose(own.leaf.tensor, base + own.step * by_step, rtol=0, atol=1e-9) for own in values):
        raise PatternError("a constant that grows in no straight line with the step")
    return Varying(base=base, by_step=by_step)


def _unified_filled(values: Sequence[Value]) -> Filled:
    first: Filled = values[0].leaf
    if any(
        not isinstance(own.leaf, Filled) or own.leaf.dtype != first.dtype or len(own.leaf.sizes) != len(first.sizes)
        for own in values
    ):
        raise PatternError("now a filled tensor and now another")
    sizes = tuple(
        _line([replace(own, leaf=own.leaf.sizes[axis]) for own in values]) for axis in range(len(first.sizes))
    )
    left_out = all(own.leaf.left_out for own in values)
    return Filled(sizes=sizes, value=_unified_numbers_or_same(values), dtype=first.dtype, left_out=left_out)


def _unified_numbers_or_same(values: Sequence[Value]) -> Any:
    own = [replace(value, leaf=value.leaf.value) for value in values]
    if isinstance(own[0].leaf, bool):
        if any(value.leaf is not own[0].leaf for value in own):
            raise PatternError("another value at each step")
        return own[0].leaf
    return _unified_numbers(own)


def _line(values: Sequence[Value]) -> Affine:
    first = values[0].leaf
    if all(own.leaf == first for own in values):
        return Affine(base=first)
    line = fitted([Sample(step=own.step, length=own.length, value=own.leaf) for own in values])
    if line is None or line.by_step:
        raise PatternError("a size that is another at each step")
    return line


def _is_number(leaf: Any) -> bool:
    return isinstance(leaf, Size) or (isinstance(leaf, int | float) and not isinstance(leaf, bool))


def is_tensor(leaf: Any) -> bool:
    """Whether a leaf is a tensor and no number or name."""
    return isinstance(leaf, TENSOR_VALUES)
