"""What a stream holds its place in a pool by."""

import warnings
from functools import partial

from rnnx_runtime.pool.requests import Seat
from rnnx_runtime.pool.running_pool import RunningPool


class Lease:
    """A seat for as long as somebody holds the stream, or another object for the same conversation.

    When the last of them is gone and none was closed, the seat goes back with a `ResourceWarning`.
    """

    __slots__ = ("_running", "seat")

    def __init__(self, running: RunningPool, seat: Seat) -> None:
        self._running = running
        self.seat = seat

    def __del__(self) -> None:
        seat, running = self.seat, self._running
        if seat.slot is None or seat.is_leaving or seat.is_closed or not running.is_left_open:
            return
        # This may run anywhere in any thread: no lock may be taken here. The warning comes last, for it may raise.
        running.housekeeper.call_soon(partial(running.close_seat, seat))
        warnings.warn(f"unclosed stream {seat.name!r}", ResourceWarning, stacklevel=2, source=self)
