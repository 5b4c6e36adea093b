"""Who may use a backend, and when it may be freed: calls go in and out, and closing waits for the last one out."""

from collections.abc import Callable
from os import getpid
from threading import Condition, get_ident

from rnnx_runtime.errors import ForkedError, SessionClosedError


class CallGate:
    """Counts the calls in flight without a lock, for a call costs a few microseconds; `free` runs once, after the last.

    A list's append and remove are atomic, and a call writes itself down before it looks whether the gate is closing,
    while the closer says so before it looks at the list: one of the two always sees the other.
    """

    __slots__ = ("_calls", "_changed", "_closing", "_free", "_is_left_to_last", "_pid", "_was_freed")

    def __init__(self, free: Callable[[], None]) -> None:
        self._free = free
        self._calls: list[int] = []  # the thread of each call
        self._pid = getpid()
        self._closing = self._is_left_to_last = self._was_freed = False
        self._changed = Condition()

    @property
    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    def enter(self) -> None:
        """Begin a call; `leave` must follow unless this raises.

        Raises:
            SessionClosedError: closing has begun.
            ForkedError: this process inherited the gate, and with it native threads and locks that it does not have.
        """
        if getpid() != self._pid:
            raise self._forked()
        self._calls.append(get_ident())
        if self._closing:
            self.leave()
            raise _closed()

    def leave(self) -> None:
        """End a call."""
        self._calls.remove(get_ident())
        if self._closing:
            with self._changed:
                self._changed.notify_all()
                if self._is_left_to_last:
                    self._free_after_last()

    def close(self) -> None:
        """Let no call in any more, and return when the last is out and all is freed, whoever closed first.

        From inside a call of the same thread (a signal's handler, say) it returns at once, and the last call out frees.
        In a forked child it does nothing: what is behind the gate is the parent's.
        """
        if getpid() != self._pid:
            return
        with self._changed:
            self._closing = True
            self._is_left_to_last |= get_ident() in self._calls
            self._changed.wait_for(lambda: not self._calls or get_ident() in self._calls)
            self._free_after_last()

    def _free_after_last(self) -> None:
        # Under the lock, so that a second closer comes back when the first has freed.
        if not self._calls and not self._was_freed:
            self._was_freed = True
            self._free()

    def _forked(self) -> ForkedError:
        return ForkedError(
            "session",
            got=f"a call in process {getpid()}",
            expected=f"process {self._pid}, which loaded the model",
            remedy="load the model after the fork, in each worker",
        )


def _closed() -> SessionClosedError:
    return SessionClosedError(
        "session", got="a call after close", expected="an open session", remedy="load the model again"
    )
