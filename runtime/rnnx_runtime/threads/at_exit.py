"""What must come to rest before the interpreter ends, in threads that it does not wait for.

CPython stops a daemon thread where it next asks for the interpreter. Inside a native library that ends the process with
SIGABRT in place of its exit code: https://docs.python.org/3.11/c-api/init.html#c.PyEval_RestoreThread
"""

import atexit
import time
from threading import get_ident
from typing import Protocol
from weakref import ref

from rnnx_runtime.errors import SessionClosedError

LONGEST_S = 5.0
"""How long the end of the interpreter waits for all of them together, such as for a step that hangs."""


class Ending(Protocol):
    """What has calls in flight."""

    def end(self, timeout_s: float) -> None:
        """Take nothing more from other threads, and wait for what is in flight, for so long at most."""


class _Endings:
    """Weak references to what lives, the oldest first."""

    def __init__(self) -> None:
        self._alive: dict[int, ref[Ending]] = {}
        self._is_registered = False
        self._last_thread: int | None = None
        """The thread that ends the interpreter, once it does."""

    def add(self, ending: Ending) -> None:
        if not self._is_registered:
            self._is_registered = True
            atexit.register(self._end_all)
        if self._last_thread not in (None, get_ident()):
            raise SessionClosedError(
                "session", got="a load as the interpreter ends", expected="a process at work", remedy="load it earlier"
            )
        key, alive = id(ending), self._alive

        def forget(_: object) -> None:
            alive.pop(key, None)

        alive[key] = ref(ending, forget)

    def _end_all(self) -> None:
        """End the youngest first, for a pool is younger than the session that it runs."""
        self._last_thread = get_ident()
        ends = time.monotonic() + LONGEST_S
        for alive in reversed(list(self._alive.values())):
            ending = alive()
            if ending is not None:
                ending.end(max(ends - time.monotonic(), 0.0))


end_at_exit = _Endings().add
"""Have something end when the interpreter does; it is not kept alive for that."""
