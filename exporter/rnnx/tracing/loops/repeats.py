"""Where three traces of growing length repeat the same instructions once more each: the steps of loops."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rnnx.tracing.loops.values import Instruction

Program = Sequence[Instruction]


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """Equal pieces one after another: where they begin in each trace, how long one is, and how many there are."""

    starts: tuple[int, ...]
    size: int
    counts: tuple[int, ...]

    @property
    def ends(self) -> tuple[int, ...]:
        """Where each trace goes on."""
        return tuple(start + self.size * count for start, count in zip(self.starts, self.counts, strict=True))


def repeats_at(programs: Sequence[Program], starts: Sequence[int], apart: int = 1) -> Iterator[Repeat]:
    """The repeats that begin here, each longer trace with as many more pieces as the one before; short pieces first.

    `apart` is how many steps more its loops have.

    Where several equal loops follow one another, such as two directions that share their weights, it is the first.
    """
    first, start = programs[0], starts[0]
    for size in range(1, (len(first) - start) // 2 + 1):
        if first[start].token != first[start + size].token:
            continue
        counts = tuple(_count(own, place, size) for own, place in zip(programs, starts, strict=True))
        grown = {later - earlier for earlier, later in pairwise(counts)}
        if counts[0] < 2 or len(grown) != 1:
            continue
        more, left = divmod(grown.pop(), apart)
        if left:
            continue
        if more == 1 or (more > 1 and not any(count % more for count in counts)):
            yield Repeat(starts=tuple(starts), size=size, counts=tuple(count // max(1, more) for count in counts))


def is_same(programs: Sequence[Program], places: Sequence[int]) -> bool:
    """Whether the traces have the same instruction at these places."""
    if any(place >= len(own) for own, place in zip(programs, places, strict=True)):
        return False
    return len({own[place].token for own, place in zip(programs, places, strict=True)}) == 1


def _count(program: Program, start: int, size: int) -> int:
    """How often the piece at `start` follows itself without a break, at least once."""
    same = 0
    while start + size + same < len(program) and program[start + same].token == program[start + size + same].token:
        same += 1
    return 1 + same // size
