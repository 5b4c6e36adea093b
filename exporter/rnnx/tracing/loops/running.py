"""A loop of a rolled program while it is traced: its ends, its step, and what is read of it afterwards."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rnnx.modules.source_lines import line_of_node
from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.all_steps import AllSteps, is_for_all_steps, is_step_of_sequence
from rnnx.tracing.loops.calls import Call, Read, joined, lines_kept, narrowed, start_of
from rnnx.tracing.loops.folding import FoldingError
from rnnx.tracing.loops.markers import Sequenced, begin, end
from rnnx.tracing.loops.rolled import Element, Inner, Loop, State, Template, Varying, Written, leaves_in
from rnnx.tracing.loops.values import Filled, Slice
from rnnx.tracing.packing import check_equal


class RunningLoop:
    """One loop of a call.

    A loop that may have no step at all (its first or last one is written out) runs one more in front, which takes the
    states over unchanged and whose results nothing reads: a Scan must not be empty.
    """

    def __init__(self, call: Call, number: int, loop: Loop, wanted: Mapping[Read, None]) -> None:
        self._call, self._number, self._loop, self._wanted = call, number, loop, tuple(wanted)
        self._ahead = 1 if loop.fewer else 0
        self._sequences: dict[Any, Sequenced] = {}
        self._slices: dict[Any, Tensor] = {}
        self._states: list[Tensor] = []
        self._step: list[Any] = []
        self._last: list[Tensor] = []
        self._results: dict[Read, Tensor] = {}

    def run(self) -> None:
        """Trace the ends and the step between them, or all steps at once where they carry nothing."""
        if is_for_all_steps(self._loop):
            self._results = dict(AllSteps(self._call, self._loop).results(self._wanted))
        else:
            self._run_steps()

    def _run_steps(self) -> None:
        steps = self._call.length - self._loop.fewer + self._ahead
        for template in self._loop.step:
            for leaf in leaves_in(template.leaves):
                self._add_sequence_of(leaf, template)
        for state in self._loop.states:
            for leaf in leaves_in(state.after):
                self._add_sequence_of(leaf, self._loop.step[0])
        self._sequences["step"] = Sequenced(tensor=self._indices(), axis=0, backwards=False)
        firsts = self._firsts()
        found = begin(self._number, firsts, list(self._sequences.values()))
        self._states = found[: len(firsts)]
        self._slices = dict(zip(self._sequences, found[len(firsts) :], strict=True))
        for place, template in enumerate(self._loop.step):
            with lines_kept(template.instruction.meta):
                is_write = place in self._loop.written
                found = self._value(template.leaves[0]) if is_write else self._call.run(template, self._value)
                self._step.append(found)
        after = [self._after(own.after, state) for own, state in zip(self._loop.states, self._states, strict=True)]
        results = [self._inner(place, part) for place, part in self._wanted]
        found = end(self._number, after, results, steps)
        self._results = {key: own[self._ahead :] for key, own in zip(self._wanted, found, strict=False)}
        self._last = found[len(results) :]

    def element(self, place: int, part: int | None, index: Affine) -> Tensor:
        """What the step at an index gave."""
        last = Affine(base=-1 - self._loop.fewer, by_length=1)
        if index == last and (place, part) in self._loop.last_states:
            return self._last[self._loop.last_states[place, part]]
        if place in self._loop.written:
            return self._filled(self._loop.written[place], index == last)
        where = -1 if index == last else self._call.number(index)
        return self._results[place, part].select(0, where)

    def _filled(self, written: Written, is_last: bool) -> Tensor:
        """The tensor that the steps have filled."""
        if not is_last:
            raise FoldingError(reason="a tensor that is read before all steps have written into it", line=self._line())
        whole = self._results[written.place, None]
        return joined(whole.flip(0) if written.backwards else whole, written.axis, keeps=written.keeps)

    def collected(self, place: int, part: int | None) -> Tensor:
        """What all steps gave, time first."""
        return self._results[place, part]

    def elements(self, place: int, part: int | None, first: Any, count: Any, *, downwards: bool) -> Tensor:
        """What the steps from the first on gave, time first."""
        whole = self._results[place, part]
        low = first - count + 1 if downwards else first
        piece = narrowed(whole, 0, low, count)
        return piece.flip(0) if downwards else piece

    def _indices(self) -> Tensor:
        return torch.arange(self._call.length - self._loop.fewer + self._ahead) - self._ahead

    def _firsts(self) -> list[Tensor]:
        return [start_of(self._call, own.first, self._shape_after(own.after)) for own in self._loop.states]

    def _shape_after(self, after: Inner | State | Slice | Element) -> Any:
        if isinstance(after, State):
            return self._shape_after(self._loop.states[after.number].after)
        if isinstance(after, Slice | Element):
            return ()
        return self._loop.step[after.place].instruction.shape_of(after.part)

    def _after(self, after: Inner | State | Slice | Element, before: Tensor) -> Tensor:
        found: Tensor = self._value(after)
        if found.dim() != before.dim() or found.dtype != before.dtype:
            raise FoldingError(reason="a step that changes the shape or the dtype of its state", line=self._line())
        for size, own in zip(found.shape, before.shape, strict=True):
            check_equal(size, own)
        return torch.where(self._slices["step"] < 0, before, found) if self._ahead else found

    def _inner(self, place: int, part: int | None) -> Tensor:
        found: Any = self._step[place]
        result: Tensor = found if part is None else found[part]
        return result

    def _line(self) -> str:
        return line_of_node(self._loop.step[0].instruction.meta)

    def _value(self, leaf: Any) -> Any:
        if isinstance(leaf, Inner):
            return self._inner(leaf.place, leaf.part)
        if isinstance(leaf, State):
            return self._states[leaf.number]
        if isinstance(leaf, Element) and leaf.index.by_step:
            return self._slices[leaf]
        if isinstance(leaf, Slice):
            return self._slice(leaf)
        if isinstance(leaf, Affine) and leaf.by_step:
            return self._number_at_step(leaf)
        if isinstance(leaf, Varying):
            step = self._slices["step"].to(leaf.base.dtype)
            return leaf.base + leaf.by_step * step
        if isinstance(leaf, Filled) and isinstance(leaf.value, Affine) and leaf.value.by_step:
            sizes = [self._call.number(own) for own in leaf.sizes]
            return self._number_at_step(leaf.value).to(leaf.dtype).expand(sizes)
        return self._call.value(leaf)

    def _number_at_step(self, line: Affine) -> Tensor:
        own = self._call.number(Affine(base=line.base, by_length=line.by_length))
        found: Tensor = self._slices["step"] * line.by_step + own
        return found if not isinstance(line.by_step, float) else found.to(torch.float32)

    def _add_sequence_of(self, leaf: Any, template: Template) -> None:
        """Add what a step reads at its own index of a sequence."""
        if isinstance(leaf, Element) and leaf.index.by_step:
            if abs(leaf.index.by_step) != 1:
                raise FoldingError(reason="results of a loop in no order", line=line_of_node(template.instruction.meta))
            self._sequences[leaf] = self._sliced(self._call.collected(leaf), 0, leaf.index)
        elif isinstance(leaf, Slice) and is_step_of_sequence(leaf):
            self._sequences[leaf] = self._sliced(self._call.value(leaf.source), leaf.axis, leaf.start)

    def _sliced(self, source: Tensor, axis: int, start: Affine) -> Sequenced:
        """The part of a sequence that the steps go over."""
        backwards = start.by_step < 0
        count = self._call.length - self._loop.fewer
        first = self._call.number(Affine(base=start.base, by_length=start.by_length))
        if type(first) is int and first < 0:
            first += source.shape[axis]
        low = first - count + 1 if backwards else first
        if self._ahead and _has_one_ahead(start):
            return Sequenced(
                tensor=narrowed(source, axis, low if backwards else low - 1, count + 1), axis=axis, backwards=backwards
            )
        piece = narrowed(source, axis, low, count)
        if self._ahead:
            extra = source.narrow(axis, 0, 1)
            piece = torch.cat([piece, extra] if backwards else [extra, piece], axis)
        return Sequenced(tensor=piece, axis=axis, backwards=backwards)

    def _slice(self, leaf: Slice) -> Tensor:
        if leaf in self._slices:
            found = self._slices[leaf]
            return found.unsqueeze(leaf.axis) if leaf.keeps else found
        if not leaf.start.by_step:
            return self._call.sliced(leaf, self._value)
        source: Tensor = self._value(leaf.source)
        first = self._number_at_step(leaf.start).clamp_min(0)  # the step in front of the first reads anything
        found = source.index_select(leaf.axis, first + torch.arange(self._call.number(leaf.length)))
        return found if leaf.keeps else found.squeeze(leaf.axis)


def _has_one_ahead(start: Affine) -> bool:
    """Whether a sequence has an element before the first that is read, on the side from which the steps come."""
    if not isinstance(start.base, int):
        return False
    return (
        (start.base <= -2 and start.by_length == 1) if start.by_step < 0 else (start.base > 0 and not start.by_length)
    )
