"""Waiting for the pushes of the next step, and for more of them while that pays."""

from collections.abc import Callable
from math import inf
from typing import Any

from rnnx_runtime.pool.inbox import Inbox
from rnnx_runtime.pool.options import PoolOptions
from rnnx_runtime.pool.requests import Seat
from rnnx_runtime.pool.schedule import Schedule
from rnnx_runtime.pool.turn import Turn
from rnnx_runtime.pool.waiting import Waiting

_SPLIT_FROM = 32
"""Streams from which on a step takes half of them: rows of a batch of 16 cost nearly what those of a larger one do."""


class Collector:
    """Moves requests from the inbox into the line; for the pool's thread alone. Once `is_stopping` it waits no more."""

    def __init__(
        self,
        inbox: Inbox,
        schedule: Schedule,
        waiting: Waiting,
        seats: set[Seat],
        options: PoolOptions,
        clock: Callable[[], float],
        turn: Turn,
        bell: Any,
        is_retired: Callable[[], bool],
    ) -> None:
        self.is_stopping = False
        self._inbox = inbox
        self._schedule = schedule
        self._waiting = waiting
        self._seats = seats
        self._options = options
        self._clock = clock
        self._turn, self._bell = turn, bell
        self._is_retired = is_retired

    def collect(self, before_waiting: Callable[[], None]) -> float:
        """Wait for work, and for more of it while that pays; gives the time when the waiting was over."""
        begun = now = self._clock()
        self.take(now)
        while not (self.is_stopping or self._schedule.owes_answers):
            rows, full = self._schedule.streams, self.full()
            if 0 < full <= rows:
                break
            # With no row there it waits the same way: the first of many would wake it while the others still come.
            slice_s = self._waiting.slice_s(rows, full, now - begun)
            if slice_s <= 0 and rows:
                break
            before = now
            before_waiting()
            if slice_s > 0:
                now = self._wait(max(full - rows, 1), slice_s, has_rows=rows > 0)
            else:
                begun = now = self._wait_for_first()
            if not self.take(now):
                self._waiting.saw_nothing(now - before)
                if rows or slice_s <= 0:
                    break  # else it waits on: once the limit is over, for the first
        return now

    def is_time(self) -> bool:
        """Whether a step should run now, and not wait for more rows."""
        rows, full = self._schedule.streams, self.full()
        if self._schedule.owes_answers or 0 < full <= rows:
            return True
        return rows > 0 and self._waiting.slice_s(rows, full, 0.0) <= 0

    def full(self) -> int:
        """The most rows of a step: of many streams half, whose step runs while the others' callers prepare frames."""
        streams = len(self._seats)
        return min(self._options.max_batch, streams if streams < _SPLIT_FROM else (streams + 1) // 2)

    def _wait(self, count: int, timeout_s: float | None, *, has_rows: bool) -> float:
        """Wait for requests; with no row there without the turn, so that a caller who comes may run the step."""
        right_of_way = self._inbox.right_of_way
        right_of_way.pass_on(inf)
        if not has_rows:
            self._turn.give_back()
        try:
            self._inbox.wait(count, timeout_s, self._bell)
        finally:
            if not has_rows:
                self._turn.take(self._is_retired)
        right_of_way.wanted_from = 0.0
        return self._clock()

    def _wait_for_first(self) -> float:
        idle_s = self._options.idle_s
        return self._wait(1, None if idle_s is None else idle_s / 4, has_rows=False)

    def take(self, now: float) -> int:
        """Take in what has come; gives how many requests."""
        requests = self._inbox.take_all(self._bell)
        if requests:
            self._schedule.add(requests)
            first, last = requests[0].queued_at, requests[-1].queued_at
            self._waiting.saw_arrivals(len(requests), first or now, last or now)
        return len(requests)
