"""Streams whose frames run as the rows of one step, looked at once for all the steps that they share."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.pool.inbox import Inbox
from rnnx_runtime.pool.requests import Seat

_MOST = 64
"""Groups that are remembered."""

_SEAT = attrgetter("seat")


class RowGroup:
    """Seats of different streams, in the order of a step's rows, all of which could be pushed when they were looked at.

    `epoch` is the inbox's of that moment: while it is the inbox's still, no seat has changed. `slots` are where their
    states are, and `index` is the same for NumPy.
    """

    __slots__ = ("epoch", "index", "seats", "slots")

    def __init__(self, seats: tuple[Seat, ...], epoch: object) -> None:
        self.seats, self.epoch = seats, epoch
        self.slots = [seat.slot for seat in seats]
        self.index: Array = np.array(self.slots, np.intp)


class RowGroups:
    """The groups of a pool that were pushed lately, for who pushes the same streams in the same order again."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._known: dict[tuple[Any, ...], RowGroup] = {}

    def known(self, streams: Sequence[Any]) -> RowGroup | None:
        """The group of these streams, if none of them has changed since; without a look at each of them."""
        try:
            group = self._known.get(tuple(map(_SEAT, streams)))
        except (AttributeError, TypeError):  # no streams: who looks at each of them says which
            return None
        return group if group is not None and group.epoch is self._inbox.epoch else None

    def remember(self, seats: Iterable[Seat], epoch: object) -> RowGroup:
        """A group whose seats were looked at since that epoch began."""
        group = RowGroup(tuple(seats), epoch)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[group.seats] = group
        return group
