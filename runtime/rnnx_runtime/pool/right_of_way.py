"""Who has the interpreter when pushes come faster than steps run."""

import time
from contextlib import suppress
from math import inf
from threading import Lock

LONGEST_S = 500e-6
"""The longest time a caller stands back: about as long as the pool's own work between two steps takes."""

SHORTEST_S = 1e-6
"""A sleep this short lasts as long as waking a thread does; one of zero seconds would take the interpreter back."""


class RightOfWay:
    """Lets the pool's thread have the interpreter first.

    CPython gives a thread that waits for the interpreter its turn after 5 ms, and NumPy lets go of it several times
    between two steps. A caller who pushes without a pause would so hold up the very steps that it waits for.
    `wanted_from` is the time from which on the pool's thread wants the interpreter.
    """

    def __init__(self) -> None:
        self.wanted_from = inf
        self._turn = Lock()
        self._turn.acquire()
        self._is_given = False

    def give(self) -> None:
        """Stand back until the pool's thread has gone on into a step or a wait, for `LONGEST_S` at most."""
        if self._is_given:  # another caller has the one place to wait in
            time.sleep(SHORTEST_S)
            return
        self._is_given = True
        try:
            self._turn.acquire(timeout=LONGEST_S)
        finally:
            self._is_given = False

    def pass_on(self, until: float) -> None:
        """Let callers go on; the pool's thread does without the interpreter until then."""
        self.wanted_from = until
        if self._is_given and self._turn.locked():
            with suppress(RuntimeError):  # a second worker, in place of one that hangs, may have done it just now
                self._turn.release()
