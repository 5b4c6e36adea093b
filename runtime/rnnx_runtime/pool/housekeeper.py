"""A pool's second thread: it watches the steps, and does what may take long beside them."""

import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread, get_ident

from rnnx_runtime.threads.latch import Latch

_LOG = logging.getLogger("rnnx_runtime.pool")

_LOOKS = 4
"""How often a timeout is looked at while it runs out."""

_SOON_S = 1.0
"""How long a thread may take that has nothing left to do."""


class Housekeeper:
    """Calls `watch` several times within `timeout_s`, and functions that were handed to it in between."""

    def __init__(self, watch: Callable[[], None], timeout_s: float) -> None:
        self._watch = watch
        self.period_s = min(timeout_s / _LOOKS, 1.0)
        """How often it looks."""
        self._timeout_s = timeout_s
        # Its `put` may interrupt itself, so that finalizers and signal handlers can call it.
        self._tasks: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._ended = Latch()
        self._thread = Thread(target=self._serve, name="rnnx-pool-housekeeper", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    @property
    def is_this_thread(self) -> bool:
        """Whether the caller runs in the housekeeper's thread."""
        return self._thread.ident == get_ident()

    def call_soon(self, task: Callable[[], object]) -> None:
        """Call a function from this thread; what it raises is logged."""
        self._tasks.put(task)

    def close(self, timeout_s: float | None = None) -> None:
        """Do what was handed over, and end; waited for as long as a step may take, and not by itself."""
        self._tasks.put(None)
        if not self.is_this_thread and self._ended.wait(self._timeout_s if timeout_s is None else timeout_s):
            self._thread.join(_SOON_S)

    def _serve(self) -> None:
        try:
            while self._serve_once():
                self._watch()
        finally:
            self._ended.set()

    def _serve_once(self) -> bool:
        try:
            task = self._tasks.get(timeout=self.period_s)
        except Empty:
            return True
        if task is None:
            return False
        try:
            task()
        except Exception:  # a caller's function must not end the watch
            _LOG.exception("a task of the pool's second thread failed, such as on_evict")
        return True
