"""Masks and biases between frames, as tables of how far apart the frames are: the same everywhere in the sequence."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCKED = -1e4
"""A score that is at most this is that of a frame which is not seen: its weight is zero."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How many frames before a frame, and after it, it sees at most."""

    back: int
    ahead: int

    @property
    def width(self) -> int:
        """How many frames it sees at most, itself among them."""
        return self.back + self.ahead + 1


@dataclass(frozen=True, kw_only=True)
class MaskTable:
    """The values `(…, period, width)` of a mask for each place in its period, the latest frame that is seen first."""

    values: Tensor
    reach: Reach

    @property
    def period(self) -> int:
        """After how many frames the mask repeats."""
        return self.values.shape[-2]


def reach_of(seen: Tensor) -> Reach:
    """The reach of a square of who sees whom, `(frames, frames)` of the seeing and the seen.

    Raises:
        ValueError: some frame sees none.
    """
    if not bool(seen.any(-1).all()):
        raise ValueError("lets a frame see none at all")
    rows, columns = seen.nonzero(as_tuple=True)
    apart = rows - columns
    return Reach(back=max(0, int(apart.max())), ahead=max(0, int(-apart.min())))


def settled_reach(seen_at: Callable[[int], Tensor]) -> Reach:
    """The reach that does not grow with the sequence.

    Args:
        seen_at: the square of who sees whom in a sequence of so many frames.

    Raises:
        ValueError: a frame sees ever more of the others, or none; says which.
    """
    for count in SIZES:
        found = reach_of(seen_at(count))
        if 2 * found.width <= count and reach_of(seen_at(count - 7)) == found:
            return found
    which = "earlier" if found.back > found.ahead else "later"
    raise ValueError(f"lets a frame see all {which} ones: bound its window by a mask, such as `i - j < w`")


SIZES = (48, 192, 768)
"""Lengths of sequences at which a mask is tried."""


def table_of(mask: Tensor, reach: Reach) -> MaskTable:
    """The table of a square `(…, frames, frames)` that says the same of frames equally far apart, or repeats itself.

    Raises:
        ValueError: it does neither.
    """
    count = mask.shape[-1]
    columns = torch.arange(count).unsqueeze(1) + reach.ahead - torch.arange(reach.width)
    inside = (columns >= 0) & (columns < count)
    rows = mask.gather(-1, columns.clamp(0, count - 1).expand(*mask.shape[:-1], reach.width))
    for period in range(1, max(1, (count - reach.width) // 2) + 1):
        first = -(-reach.back // period) * period
        if first + period + reach.ahead > count:
            break
        table = rows[..., first : first + period, :]
        again = table[..., torch.arange(count) % period, :]
        if bool((_equal(again, rows) | ~inside).all()):
            return MaskTable(values=table, reach=reach)
    raise ValueError("says something else at every place of the sequence")


def _equal(one: Tensor, other: Tensor) -> Tensor:
    if not one.is_floating_point():
        return one == other
    return (one == other) | ((one - other).abs() <= 1e-12 * other.abs())
