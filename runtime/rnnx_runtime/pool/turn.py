"""Who runs a pool's steps: its own thread, or a caller who found nobody at work."""

from collections.abc import Callable
from threading import Lock

_LOOK_S = 0.05
"""How often who waits for the turn looks whether it is still wanted."""


class Turn:
    """Held by whoever forms batches and runs them; states, the line and counts are the holder's alone.

    A thread that may be interrupted by a signal's handler must not take it: the handler may wait for a step.
    """

    def __init__(self) -> None:
        self._lock = Lock()

    def take_if_free(self) -> bool:
        """Take it unless somebody has it."""
        return self._lock.acquire(blocking=False)

    def take(self, is_over: Callable[[], bool]) -> None:
        """Wait for it; once `is_over` go on without it, for its holder hangs."""
        while not self._lock.acquire(timeout=_LOOK_S):
            if is_over():
                return

    def give_back(self) -> None:
        """Let the next one have it."""
        self._lock.release()

    @property
    def is_taken(self) -> bool:
        """Whether somebody has it."""
        return self._lock.locked()
