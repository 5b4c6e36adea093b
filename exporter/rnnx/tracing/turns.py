"""One thread at a time: a trace changes PyTorch's classes, and a run in float64 the default dtype, of the process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.RLock()


@contextmanager
def own_turn() -> Iterator[None]:
    """Wait until no other thread is inside such a block; the same thread may enter several, one inside another."""
    with _LOCK:
        yield
