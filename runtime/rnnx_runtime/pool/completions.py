"""Where the pushes of many streams end, for one thread that serves them all."""

import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from rnnx_runtime.pool.requests import Push, PushQueue
from rnnx_runtime.threads.latch import new_bell, ring, wait_for


class CompletionQueue(PushQueue):
    """The settled pushes of whatever streams were given it: `stream.submit(x, into=queue)`.

    A thread that takes from it is woken once for all pushes of a step, not once for each; CPython needs tens of
    microseconds to wake a thread. Safe to use from many threads, each push is taken by one of them, and safe in a
    signal handler: it has no lock, but deques, whose appends and pops are atomic.
    """

    def __init__(self) -> None:
        self._settled: deque[Push] = deque()
        self._takers: deque[Any] = deque()
        """A bell for each thread that waits."""
        self._is_closed = False

    def take(self, timeout_s: float | None = None) -> list[Push]:
        """Wait until a push is settled, and take all that are, in the order they were settled.

        `push.result()` of each returns or raises at once. Empty when the time is up, or when the queue is closed and
        everything was taken.
        """
        taken = self._take_all()
        if taken or self._is_closed:
            return taken or self._take_all()
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        while not (taken or self._is_closed):
            left = None if ends is None else ends - time.monotonic()
            if left is not None and left <= 0:
                break
            self._wait(left)
            taken = self._take_all()
        return taken or self._take_all()

    def _take_all(self) -> list[Push]:
        taken: list[Push] = []
        try:
            while True:
                taken.append(self._settled.popleft())
        except IndexError:
            return taken

    def _wait(self, timeout_s: float | None) -> None:
        bell = new_bell()
        self._takers.append(bell)
        try:
            # Who puts something in looks at the takers afterwards: one of the two always sees the other.
            if not (self._settled or self._is_closed):
                wait_for(bell, timeout_s)
        except BaseException:
            self._wake_one()  # the bell may have been rung for this thread, which does not take anything any more
            raise
        finally:
            if bell in self._takers:
                self._takers.remove(bell)

    def put(self, pushes: Iterable[Push]) -> None:
        """Add settled pushes; the pool does."""
        self._settled.extend(pushes)
        self._wake_one()

    def _wake_one(self) -> None:
        try:
            bell = self._takers.popleft()
        except IndexError:
            return
        ring(bell)

    def close(self) -> None:
        """Let threads that wait go on with what is there; pushes that are settled later can still be taken."""
        self._is_closed = True
        for bell in list(self._takers):
            ring(bell)
