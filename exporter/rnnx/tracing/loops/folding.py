"""Three traces of growing length folded into one program of any length."""

from collections.abc import Sequence
from typing import Any

from rnnx.modules.source_lines import line_of_node
from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.matching import gathers, list_and_axis, loop_of
from rnnx.tracing.loops.references import Coordinates, PatternError, Value
from rnnx.tracing.loops.repeats import Repeat, is_same, repeats_at
from rnnx.tracing.loops.rolled import Loop, Rolled, Template
from rnnx.tracing.loops.unrolled import Unrolled
from rnnx.tracing.loops.values import Instruction


class FoldingError(Exception):
    """Traces that are no program of any length: why, and the model's line."""

    def __init__(self, *, reason: str, line: str) -> None:
        super().__init__(f"{reason}: {line}")
        self.reason, self.line = reason, line


def folded(programs: Sequence[Unrolled]) -> Rolled:
    """The program of any length.

    Raises:
        FoldingError: there is none.
    """
    return _Folder(programs).fold()


class _Folder:
    def __init__(self, programs: Sequence[Unrolled]) -> None:
        self._programs = programs
        self._lists = [own.instructions for own in programs]
        self._apart = programs[1].length - programs[0].length
        self._coordinates = Coordinates(programs)
        self._parts: list[Template | Loop] = []
        self._places = [0] * len(programs)
        self._once = self._loops = 0
        self._reason = ""

    def fold(self) -> Rolled:
        while self._places[0] < len(self._lists[0]):
            found = self._loop_here()
            if found is not None:
                self._add_loop(*found)
            elif is_same(self._lists, self._places):
                self._add_once()
            else:
                raise self._differing()
        if any(place != len(own) for place, own in zip(self._places, self._lists, strict=True)):
            raise self._differing()
        try:
            results = tuple(map(self._leaf, zip(*(own.results for own in self._programs), strict=True)))
        except PatternError as error:
            raise self._unfoldable(str(error)) from error
        return Rolled(parts=tuple(self._parts), results=results, length=Affine(base=0, by_length=1))

    def _loop_here(self) -> tuple[Repeat, Loop] | None:
        """The loop that begins here or, where the instructions before it look like its last ones, a little later."""
        for repeat in repeats_at(self._lists, self._places, self._apart):
            found = [own for own in map(self._matched, self._turned(repeat)) if own is not None]
            if found:
                return min(found, key=lambda own: (own[1].fewer, len(own[1].states), own[0].starts))
        return None

    def _turned(self, repeat: Repeat) -> list[Repeat]:
        """The repeat from its first instruction on, from a later one without one piece fewer, or a piece later."""
        found = [repeat]
        for shift in range(1, repeat.size):
            starts = tuple(start + shift for start in repeat.starts)
            later = next((own for own in repeats_at(self._lists, starts, self._apart) if own.size == repeat.size), None)
            if later is None or later.counts != repeat.counts:
                break
            found.append(later)
        if min(repeat.counts) > 2:
            starts = tuple(start + repeat.size for start in repeat.starts)
            found.append(Repeat(starts=starts, size=repeat.size, counts=tuple(count - 1 for count in repeat.counts)))
        return found

    def _matched(self, repeat: Repeat) -> tuple[Repeat, Loop] | None:
        coordinates, places = self._coordinates, self._places
        ahead = repeat.starts[0] - places[0]
        if ahead:
            coordinates = self._coordinates.ahead(self._once, ahead)
        try:
            return repeat, loop_of(self._programs, coordinates, repeat)
        except PatternError as error:
            self._reason = self._reason or str(error)
            return None

    def _add_loop(self, repeat: Repeat, loop: Loop) -> None:
        while self._places[0] < repeat.starts[0]:
            self._add_once()
        self._coordinates.add_loop(self._loops, repeat)
        self._parts.append(loop)
        self._loops += 1
        self._places = list(repeat.ends)
        self._reason = ""

    def _add_once(self) -> None:
        own = [program[place] for program, place in zip(self._lists, self._places, strict=True)]
        try:
            self._parts.append(self._template(own))
        except PatternError as error:
            raise self._unfoldable(self._reason or str(error)) from error
        self._coordinates.add_once(self._once)
        self._once += 1
        self._places = [place + 1 for place in self._places]

    def _template(self, own: Sequence[Instruction]) -> Template:
        if gathers(own[0]):
            lists = [list_and_axis(instruction) for instruction in own]
            spans = self._coordinates.spans([each for each, _ in lists], [program.length for program in self._programs])
            return Template(instruction=own[0], leaves=(spans, lists[0][1]))
        if len({(len(instruction.leaves), str(instruction.structure)) for instruction in own}) != 1:
            raise PatternError("a list that grows with the loop")
        columns = zip(*(instruction.leaves for instruction in own), strict=True)
        return Template(instruction=own[0], leaves=tuple(map(self._leaf, columns)))

    def _leaf(self, leaves: Sequence[Any]) -> Any:
        return self._coordinates.unified(
            [
                Value(trace=trace, step=0, length=self._programs[trace].length, leaf=leaf)
                for trace, leaf in enumerate(leaves)
            ]
        )

    def _differing(self) -> FoldingError:
        """Why the instructions of one length are not those of another: a line that only one has tells it best."""
        lines = [dict.fromkeys(line_of_node(own.meta) for own in program) for program in self._lists]
        odd = [line for own in lines for line in own if any(line not in other for other in lines)]
        if odd and not self._reason:
            return FoldingError(reason="what the model does at one length and not at another", line=odd[0])
        return self._unfoldable(self._reason or "steps that differ from one another")

    def _unfoldable(self, reason: str) -> FoldingError:
        place = min(self._places[0], len(self._lists[0]) - 1)
        line = line_of_node(self._lists[0][place].meta) if self._lists[0] else "forward"
        return FoldingError(reason=reason, line=line)
