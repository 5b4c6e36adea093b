"""Something that happens once, for those who wait for it."""

from collections import deque
from threading import TIMEOUT_MAX, Lock
from typing import Any


class Latch:
    """Like `threading.Event`, but without a lock that the code which a signal handler interrupted may hold."""

    __slots__ = ("_bells", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._bells: deque[Any] = deque()
        """A lock that is taken, for each who waits."""

    def set(self) -> None:
        """Let all who wait go on."""
        self.is_set = True
        for bell in list(self._bells):
            ring(bell)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is set; False when the time is up before."""
        if self.is_set:
            return True
        bell = new_bell()
        self._bells.append(bell)
        try:
            # Setting looks at the bells after it has set the flag: one of the two always sees the other.
            if not self.is_set:
                wait_for(bell, timeout_s)
        finally:
            self._bells.remove(bell)
        return self.is_set


def new_bell() -> Any:
    """A lock that is taken: releasing it wakes who waits for it."""
    bell = Lock()
    bell.acquire()
    return bell


def ring(bell: Any) -> None:
    """Wake who waits for a bell; harmless when it was rung before."""
    try:  # noqa: SIM105 - `suppress` costs ten times as much, and a step of a pool rings many bells
        bell.release()
    except RuntimeError:
        pass


def wait_for(bell: Any, timeout_s: float | None) -> bool:
    """Wait for a bell; False when the time is up before."""
    rung: bool = bell.acquire(timeout=-1 if timeout_s is None else min(max(timeout_s, 0.0), TIMEOUT_MAX))
    return rung
