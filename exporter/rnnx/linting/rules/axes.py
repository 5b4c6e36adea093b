"""What a dim stands for: time, batch, direction, hidden size, or several of them joined."""

from dataclasses import dataclass
from typing import Literal

Meaning = Literal["T", "B", "D", "H", ""]


@dataclass(frozen=True)
class Atom:
    """One axis: what it stands for, and its size where the weights fix it."""

    meaning: Meaning
    size: int | None = None


Axis = tuple[Atom, ...]
"""A dim: one atom, or several that were joined, the slowest first."""

Axes = tuple[Axis, ...]
"""The dims of a tensor."""

TIME: Axis = (Atom("T"),)
BATCH: Axis = (Atom("B"),)
OTHER: Axis = (Atom(""),)


def axis_at(axes: Axes, place: int) -> Axis:
    """One of the axes, counted from the end where `place` is negative; one of unknown meaning where there is none."""
    return axes[place] if -len(axes) <= place < len(axes) else OTHER
