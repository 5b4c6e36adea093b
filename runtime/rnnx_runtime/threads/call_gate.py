"""Who may use a backend, and when it may be freed: calls go in and out, and closing waits for the last one out."""

from collections import deque
from collections.abc import Callable
from os import getpid
from threading import RLock, get_ident
from typing import Any

from rnnx_runtime.errors import ForkedError, SessionClosedError
from rnnx_runtime.threads.at_exit import end_at_exit
from rnnx_runtime.threads.latch import Latch, new_bell, ring, wait_for


class CallGate:
    """Counts the calls in flight without a lock, for a call costs a few microseconds; `free` runs once, after the last.

    Changes of a list are atomic, and a call writes itself down before it looks whether the gate is closing, while the
    closer says so before it looks at the list: one of the two always sees the other. All of it may be called in a
    signal handler, whatever it interrupted.
    """

    __slots__ = (
        "__weakref__",
        "_bells",
        "_calls",
        "_claim",
        "_closing",
        "_free",
        "_freed",
        "_freeing",
        "_is_left_to_last",
        "_last_thread",
        "_pid",
    )

    def __init__(self, free: Callable[[], None]) -> None:
        self._free = free
        self._calls: list[int] = []  # the thread of each call
        self._pid = getpid()
        self._closing = self._is_left_to_last = False
        self._last_thread: int | None = None
        """The one thread that may go on when the interpreter ends."""
        self._bells: deque[Any] = deque()
        """A bell for each who waits for calls to end."""
        self._claim = RLock()
        self._freeing: int | None = None
        """The thread that frees."""
        self._freed = Latch()
        end_at_exit(self)

    @property
    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing and self._last_thread is None

    def enter(self) -> None:
        """Begin a call; `leave` must follow unless this raises.

        Raises:
            SessionClosedError: closing has begun.
            ForkedError: this process inherited the gate, and with it native threads and locks that it does not have.
        """
        if getpid() != self._pid:
            raise self._forked()
        # No `append`: a handler that raises after that call would leave a call behind that never ends.
        self._calls += (get_ident(),)
        if self._closing and get_ident() != self._last_thread:
            self.leave()
            raise _closed()

    def leave(self) -> None:
        """End a call."""
        self._calls.remove(get_ident())
        if self._closing:
            for bell in list(self._bells):
                ring(bell)
            if self._is_left_to_last:
                self._free_after_last()

    def refuse_closed(self) -> None:
        """Raise `SessionClosedError` where closing has begun."""
        if self._closing:
            raise _closed()

    def close(self) -> None:
        """Let no call in any more, and return when the last is out and all is freed, whoever closed first.

        From inside a call of the same thread (a signal's handler, say) it returns at once, and the last call out frees.
        In a forked child it does nothing: what is behind the gate is the parent's.
        """
        if getpid() != self._pid:
            return
        self._last_thread = None
        self._closing = True
        if get_ident() in self._calls:
            self._is_left_to_last = True
            return
        self._wait_for_calls(None)
        self._free_after_last()
        if self._freeing != get_ident():
            self._freed.wait()

    def end(self, timeout_s: float) -> None:
        """Let no other thread in from now on, and wait for those inside: the interpreter ends.

        A thread that comes back from native code into an interpreter that is gone aborts the process.
        """
        if getpid() == self._pid and not self._closing:
            self._last_thread = get_ident()
            self._closing = True
            self._wait_for_calls(timeout_s)

    def _wait_for_calls(self, timeout_s: float | None) -> None:
        bell = new_bell()
        self._bells.append(bell)
        try:
            while any(thread != self._last_thread for thread in list(self._calls)):
                if not wait_for(bell, timeout_s):
                    break
        finally:
            self._bells.remove(bell)

    def _free_after_last(self) -> None:
        if self._calls:
            return
        thread, is_first = get_ident(), False
        try:
            with self._claim:  # without a call within, after which a handler could run
                is_first = self._freeing is None
                if is_first:
                    self._freeing = thread
            if is_first:
                self._free()
        finally:
            if is_first:
                self._freed.set()

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
