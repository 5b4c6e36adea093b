"""A loop of a rolled program while it is traced: its ends, its step, and what is read of it afterwards."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.fx.traceback as fx_traceback
from torch import Tensor

from rnnx.modules.source_lines import line_of_node
from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.folding import Unfoldable
from rnnx.tracing.loops.markers import Sequenced, begin, end
from rnnx.tracing.loops.rolled import Element, Inner, Loop, State, Template, Varying
from rnnx.tracing.loops.values import Filled, Instruction
from rnnx.tracing.packing import check_equal

if TYPE_CHECKING:
    from rnnx.tracing.loops.rolled_model import Call

_Read = tuple[int, int | None]


class RunningLoop:
    """One loop of a call.

    A loop that may have no step at all (its first or last one is written out) runs one more in front, which takes the
    states over unchanged and whose results nothing reads: a Scan must not be empty.
    """

    def __init__(self, call: "Call", number: int, loop: Loop, wanted: Mapping[_Read, None]) -> None:
        self._call, self._number, self._loop, self._wanted = call, number, loop, tuple(wanted)
        self._ahead = 1 if loop.fewer else 0
        self._sequences: dict[Any, Sequenced] = {}
        self._slices: dict[Any, Tensor] = {}
        self._states: list[Tensor] = []
        self._step: list[Any] = []
        self._last: list[Tensor] = []
        self._results: dict[_Read, Tensor] = {}

    def run(self) -> None:
        """Trace the ends and the step between them."""
        steps = self._call.length - self._loop.fewer + self._ahead
        for template in self._loop.step:
            self._add_sequences(template)
        self._add_sequence("step", Sequenced(tensor=self._indices(), axis=0, backwards=False))
        firsts = self._firsts()
        found = begin(self._number, firsts, list(self._sequences.values()))
        self._states = found[: len(firsts)]
        self._slices = dict(zip(self._sequences, found[len(firsts) :], strict=True))
        for template in self._loop.step:
            with lines_kept(template.instruction.meta):
                self._step.append(self._computed(template))
        after = [self._after(own.after, state) for own, state in zip(self._loop.states, self._states, strict=True)]
        results = [self._inner(place, part) for place, part in self._wanted]
        found = end(self._number, after, results, steps)
        self._last = found[: len(after)]
        self._results = dict(zip(self._wanted, (own[self._ahead :] for own in found[len(after) :]), strict=True))

    def element(self, place: int, part: int | None, index: Affine) -> Tensor:
        """What the step at an index gave."""
        last = Affine(base=-1 - self._loop.fewer, by_length=1)
        if index == last and (place, part) in self._loop.last_states:
            return self._last[self._loop.last_states[place, part]]
        where = -1 if index == last else self._call.number(index)
        return self._results[place, part].select(0, where)

    def collected(self, place: int, part: int | None) -> Tensor:
        """What all steps gave, time first."""
        return self._results[place, part]

    def elements(self, place: int, part: int | None, first: Any, count: Any, *, downwards: bool) -> Tensor:
        """What the steps from the first on gave, time first."""
        whole = self._results[place, part]
        low = first - count + 1 if downwards else first
        piece = _narrowed(whole, 0, low, count)
        return piece.flip(0) if downwards else piece

    def _indices(self) -> Tensor:
        return torch.arange(self._call.length - self._loop.fewer + self._ahead) - self._ahead

    def _firsts(self) -> list[Tensor]:
        found = []
        for state in self._loop.states:
            first = state.first
            result = self._shape_after(state.after)
            if isinstance(first, Filled) and len(first.sizes) == len(result):
                first = replace(first, sizes=tuple(map(_broadcast, first.sizes, result)))
            found.append(self._call.value(first))
        return found

    def _shape_after(self, after: Inner | State) -> Any:
        if isinstance(after, State):
            return self._shape_after(self._loop.states[after.number].after)
        return self._loop.step[after.place].instruction.shape_of(after.part)

    def _after(self, after: Inner | State, before: Tensor) -> Tensor:
        found = self._states[after.number] if isinstance(after, State) else self._inner(after.place, after.part)
        if found.dim() != before.dim() or found.dtype != before.dtype:
            raise Unfoldable(reason="a step that changes the shape or the dtype of its state", line=self._line())
        for size, own in zip(found.shape, before.shape, strict=True):
            check_equal(size, own)
        return torch.where(self._slices["step"] < 0, before, found) if self._ahead else found

    def _inner(self, place: int, part: int | None) -> Tensor:
        found: Any = self._step[place]
        result: Tensor = found if part is None else found[part]
        return result

    def _line(self) -> str:
        return line_of_node(self._loop.step[0].instruction.meta)

    def _computed(self, template: Template) -> Any:
        key = _sequence_key(template)
        if key is None:
            return self._call.run(template, self._value)
        if key in self._slices:
            found = self._slices[key]
            return found if _is_select(template.instruction) else found.unsqueeze(template.leaves[1])
        return self._window(template)

    def _value(self, leaf: Any) -> Any:
        if isinstance(leaf, Inner):
            return self._inner(leaf.place, leaf.part)
        if isinstance(leaf, State):
            return self._states[leaf.number]
        if isinstance(leaf, Element) and leaf.index.by_step:
            return self._slices[leaf]
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
        found = self._slices["step"] * line.by_step + own
        return found if not isinstance(line.by_step, float) else found.to(torch.float32)

    def _add_sequences(self, template: Template) -> None:
        key = _sequence_key(template)
        if key is not None and abs(key[2].by_step) == 1:
            source, axis, start = key
            self._add_sequence(key, self._sliced(self._call.value(source), axis, start))
        for leaf in (own for each in template.leaves for own in (each if isinstance(each, tuple) else (each,))):
            if isinstance(leaf, Element) and leaf.index.by_step:
                if abs(leaf.index.by_step) != 1:
                    raise Unfoldable(reason="results of a loop in no order", line=line_of_node(template.instruction.meta))
                whole = self._call.collected(leaf)
                self._add_sequence(leaf, self._sliced(whole, 0, leaf.index))

    def _add_sequence(self, key: Any, own: Sequenced) -> None:
        self._sequences.setdefault(key, own)

    def _sliced(self, source: Tensor, axis: int, start: Affine) -> Sequenced:
        """The part of a sequence that the steps go over."""
        backwards = start.by_step < 0
        count = self._call.length - self._loop.fewer
        first = self._call.number(Affine(base=start.base, by_length=start.by_length))
        low = first - count + 1 if backwards else first
        piece = _narrowed(source, axis, low, count)
        if self._ahead:
            extra = source.narrow(axis, 0, 1)
            piece = torch.cat([piece, extra] if backwards else [extra, piece], axis)
        return Sequenced(tensor=piece, axis=axis, backwards=backwards)

    def _window(self, template: Template) -> Tensor:
        """A slice of several elements, or one that moves by more than one a step."""
        source, axis, start = template.leaves[:3]
        tensor = self._call.value(source)
        first = self._number_at_step(start).clamp_min(0)
        if _is_select(template.instruction):
            return tensor.index_select(axis, first.reshape(1)).squeeze(axis)
        length = _length(template)
        return tensor.index_select(axis, first + torch.arange(length))


def _broadcast(size: Affine, after: Any) -> Affine:
    """The size of a state's axis: where the first one is broadcast, the next one's."""
    return Affine(base=after) if size == Affine(base=1) else size


def _sequence_key(template: Template) -> tuple[Any, int, Affine] | None:
    """Source, axis and start of a slice that moves with the step over something that stays."""
    name = str(template.instruction.target)
    if name not in ("aten.select.int", "aten.slice.Tensor") or len(template.leaves) < 3:
        return None
    source, axis, start = template.leaves[:3]
    if not isinstance(start, Affine) or not start.by_step or isinstance(source, Inner | State | Varying):
        return None
    if isinstance(source, Element) and source.index.by_step:
        return None
    if not _is_select(template.instruction) and _length(template) is None:
        return None
    if not _is_select(template.instruction) and _length(template) != 1:
        return source, axis, Affine(base=0, by_step=2)  # no sequence of single elements
    return source, axis, start


def _length(template: Template) -> int | None:
    start, last = template.leaves[2:4]
    if not isinstance(last, Affine) or last.by_step != start.by_step or last.by_length != start.by_length:
        return None
    length = last.base - start.base
    return length if isinstance(length, int) else None


def _is_select(instruction: Instruction) -> bool:
    return str(instruction.target) == "aten.select.int"


def _narrowed(source: Tensor, axis: int, first: Any, count: Any) -> Tensor:
    """A part of a sequence; the whole of one that is as long as the part."""
    size = source.shape[axis]
    if type(first) is int and first == 0 and _may_be_equal(size, count):
        check_equal(size, count)
        return source
    return source.narrow(axis, first, count)


def _may_be_equal(size: Any, count: Any) -> bool:
    """Whether two sizes are equal in the example."""
    hints = [own.node.hint if isinstance(own, torch.SymInt) else own for own in (size, count)]
    return bool(hints[0] == hints[1])


@contextmanager
def lines_kept(meta: Mapping[str, Any]) -> Iterator[None]:
    """Give the nodes that are traced inside the block the model's line that their instruction came from."""
    before = dict(fx_traceback.current_meta)
    fx_traceback.current_meta["stack_trace"] = meta.get("stack_trace", "")
    try:
        yield
    finally:
        fx_traceback.current_meta.clear()
        fx_traceback.current_meta.update(before)


