"""Axes that a trace fixed though the model takes other sizes there: found by running the model at another size."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import Tensor

from rnnx.errors import FrozenDimError
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.sizes.dims import expression_of, input_shapes
from rnnx.tracing.sizes.guards import SizeGuard
from rnnx.tracing.sizes.remedies import remedy_for
from rnnx.tracing.sizes.specializations import Specialization
from rnnx.tracing.tracing import Trace

Axis = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class FixedAxes:
    """The axes of a trace that were to be free and are not, and what the model does at other sizes of them.

    `free` says which axes were to be; those that a layer's weights fix are left aside.
    """

    eager: EagerModel
    tensors: Mapping[str, Tensor]
    trace: Trace
    free: Sequence[Sequence[int]]

    def with_trace(self, trace: Trace, tensors: Sequence[Tensor]) -> "FixedAxes":
        """The same of another trace, of this example."""
        return replace(self, trace=trace, tensors=dict(zip(self.tensors, tensors, strict=True)))

    def larger(self) -> dict[str, Tensor]:
        """The example with two rows, or steps, where it has one that the trace took for all there can be.

        A size of one broadcasts, so operators fix what they would leave free at two.
        """
        single = [place for place in self._open() if self._size(place) == 1]
        fixed = [place for place in single if place in self._fixed() or self._ties(place)]
        if not fixed:
            return dict(self.tensors)
        axes = sorted({axis for _, axis in fixed})
        wanted = [single, *([own for own in single if own[1] == axis] for axis in axes), *([own] for own in fixed)]
        for places in wanted:
            grown = self._grown(places)
            if set(places) & set(fixed) and self._runs(grown):
                return grown
        return dict(self.tensors)

    def refuse(self, calls: Mapping[str, int]) -> tuple[str, ...]:
        """Refuse an axis that only the example's size fixed; what a loop over features or channels fixes is noted.

        Raises:
            FrozenDimError: names the axis, and the model's line that fixes it.
        """
        notes = []
        for own in self._told():
            place = self._places(own)
            if not self._takes_other(place):
                continue
            name, axis = place
            if own.is_loop and (axis == self.tensors[name].dim() - 1 or own.size in calls.values()):
                notes.append(f"axis {axis} of {name} is fixed at {own.size}: {own.line}")
                continue
            raise FrozenDimError(
                f"input {name!r} axis {axis}",
                got=f"a trace that fixes it at {own.size}, the example's size: {own.line}",
                expected="an axis that is free, for the model takes other sizes there",
                remedy=f"{remedy_for(own.line, is_loop=own.is_loop)}, or fix the axis on purpose "
                f"({own.size} there in --input, None in dims)",
            )
        self._refuse_partial_loops()
        return tuple(notes)

    def takes_other(self, own: Specialization) -> bool:
        """Whether the model runs at another size of an axis that the trace fixed."""
        return self._takes_other(self._places(own))

    def _refuse_partial_loops(self) -> None:
        """Refuse a loop over a number of steps that is made of a free axis, as every second one or a multiple of four.

        It would be copied as often as it runs in the example. One over features is left, as that axis gets fixed.
        """
        shapes = input_shapes(self.trace.program, list(self.tensors))
        for name, axis in self._open():
            symbol = expression_of(shapes[name][axis])
            for guard in self.trace.guards if axis < self.tensors[name].dim() - 1 or axis < 2 else ():
                if guard.steps is None or symbol not in guard.symbols or not self._takes_other((name, axis)):
                    continue
                size = self._size((name, axis))
                raise FrozenDimError(
                    f"input {name!r} axis {axis}",
                    got=f"a loop in Python of {guard.steps} steps, not the axis' {size} but made of them: {guard.line}",
                    expected="a loop over the whole of an axis, which becomes one Scan",
                    remedy=f"{remedy_for(guard.code, is_loop=True)}, or fix the axis on purpose "
                    f"({size} there in --input, None in dims)",
                )

    def in_the_way(self, places: Collection[Axis]) -> set[Axis]:
        """The axes of other sizes that a batch is made of, as by `view(-1, n)`: it is free where they are fixed."""
        shapes = input_shapes(self.trace.program, list(self.tensors))
        sizes = {place: expression_of(shapes[place[0]][place[1]]) for place in self._open()}
        found = set()
        for place in places:
            symbols = {symbol for guard in self._ties(place) for symbol in guard.symbols}
            others = {own for own, size in sizes.items() if size in symbols and self._size(own) != self._size(place)}
            found |= others if others and self._takes_other(place) else set()
        return found

    def refuse_tied(self, places: Collection[Axis]) -> None:
        """Refuse to fix an axis that the model ties to others by an equation that no size can be read from.

        Raises:
            FrozenDimError: names the axis, and the model's line.
        """
        for name, axis in places:
            ties = self._ties((name, axis))
            if ties and self._takes_other((name, axis)):
                raise FrozenDimError(
                    f"input {name!r} axis {axis}",
                    got=f"a size that the model makes of several free ones: {ties[0].line}",
                    expected="an axis that is equal to another's",
                    remedy="keep the batch an axis of its own (x.flatten(1) in place of x.view(-1, n)), or fix the "
                    "other sizes on purpose (numbers for them in --input, None in dims)",
                )

    def _ties(self, place: Axis) -> list[SizeGuard]:
        """The equations of an axis and other free sizes."""
        symbol = expression_of(input_shapes(self.trace.program, list(self.tensors))[place[0]][place[1]])
        equal = [own for own in self.trace.guards if isinstance(own.condition, sympy.Eq) and symbol in own.symbols]
        return [own for own in equal if len(own.symbols) > 1]

    def _told(self) -> Iterator[Specialization]:
        """The axes that were fixed by no weights, each with the line that did it."""
        fixed = self._fixed()
        for own in self.trace.specializations:
            if not own.is_weights and own.input < len(self.tensors) and self._places(own) in fixed:
                yield own

    def _places(self, own: Specialization) -> Axis:
        return list(self.tensors)[own.input], own.axis

    def _open(self) -> list[Axis]:
        """The axes that were to be free, without those that weights fix."""
        weights = {self._places(own) for own in self.trace.specializations if own.is_weights and self._is_input(own)}
        named = zip(self.tensors, self.free, strict=True)
        own = [(name, axis) for name, axes in named for axis, is_free in enumerate(axes) if is_free]
        return [place for place in own if place not in weights]

    def _is_input(self, own: Specialization) -> bool:
        return own.input < len(self.tensors)

    def _fixed(self) -> list[Axis]:
        """Those of them that the trace has as a number, or as nothing but the one that the example has."""
        shapes = input_shapes(self.trace.program, list(self.tensors))
        ranges = self.trace.program.range_constraints
        single = {symbol for symbol, bounds in ranges.items() if bounds.upper <= 2}
        sizes = {(name, axis): expression_of(shapes[name][axis]) for name, axis in self._open()}
        return [place for place, size in sizes.items() if size.is_Integer or size in single]

    def _takes_other(self, place: Axis) -> bool:
        """Whether the model runs with one more there: alone, or with axes of the same size or place."""
        equal = [own for own in self._open() if self._size(own) == self._size(place)]
        alike = [own for own in equal if own[1] == place[1]]
        return any(self._runs(self._grown(places)) for places in ([place], equal, alike) if place in places)

    def _grown(self, places: Sequence[Axis]) -> dict[str, Tensor]:
        grown = dict(self.tensors)
        for name, axis in places:
            grown[name] = torch.cat([grown[name], grown[name].narrow(axis, 0, 1)], axis)
        return grown

    def _runs(self, tensors: Mapping[str, Tensor]) -> bool:
        feeds: dict[str, Any] = {name: value.numpy() for name, value in tensors.items()}
        try:
            self.eager.outputs(feeds, torch.float32)
        except Exception:  # the model's own, which may raise anything at sizes that it does not take
            return False
        return True

    def _size(self, place: Axis) -> int:
        return int(self.tensors[place[0]].shape[place[1]])
