"""Where the pushes of many streams end, for one thread that serves them all."""

from collections import deque
from collections.abc import Iterable
from threading import Condition
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnnx_runtime.pool.requests import Push


class CompletionQueue:
    """The settled pushes of whatever streams were given it: `stream.submit(x, into=queue)`.

    A thread that takes from it is woken once for all pushes of a step, not once for each; CPython needs tens of
    microseconds to wake a thread. Safe to use from many threads, each push is taken by one of them.
    """

    def __init__(self) -> None:
        self._settled: deque[Push] = deque()
        self._arrival = Condition()
        self._is_closed = False

    def take(self, timeout_s: float | None = None) -> list["Push"]:
        """Wait until a push is settled, and take all that are, in the order they were settled.

        `push.result()` of each returns or raises at once. Empty when the time is up, or when the queue is closed and
        everything was taken.
        """
        with self._arrival:
            if not self._settled:
                self._arrival.wait_for(lambda: self._settled or self._is_closed, timeout_s)
            taken = list(self._settled)
            self._settled.clear()
        return taken

    def put(self, pushes: Iterable["Push"]) -> None:
        """Add settled pushes; the pool does."""
        with self._arrival:
            self._settled.extend(pushes)
            self._arrival.notify()

    def close(self) -> None:
        """Let threads that wait go on with what is there; pushes that are settled later can still be taken."""
        with self._arrival:
            self._is_closed = True
            self._arrival.notify_all()
