"""A pool's second thread: it watches the steps, and does what may take long beside them."""

import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

_LOG = logging.getLogger("rnnx_runtime.pool")

_LOOKS = 4
"""How often a timeout is looked at while it runs out."""


class Housekeeper:
    """Calls `watch` several times within `timeout_s`, and functions that were handed to it in between."""

    def __init__(self, watch: Callable[[], None], timeout_s: float) -> None:
        self._watch = watch
        self._period_s = min(timeout_s / _LOOKS, 1.0)
        self._tasks: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name="rnnx-pool-housekeeper", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def call_soon(self, task: Callable[[], object]) -> None:
        """Call a function from this thread; what it raises is logged."""
        self._tasks.put(task)

    def close(self) -> None:
        """Do what was handed over, and end."""
        self._tasks.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=self._period_s)
            except Empty:
                self._watch()
                continue
            if task is None:
                return
            try:
                task()
            except Exception:  # a caller's function must not end the watch
                _LOG.exception("on_evict failed; the stream's snapshot is lost")
            self._watch()
