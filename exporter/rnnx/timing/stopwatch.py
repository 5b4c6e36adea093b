"""The time of one call, in a process that nothing of Python's own disturbs meanwhile."""

import contextlib
import gc
from collections.abc import Callable, Iterator

Call = Callable[[], object]
Clock = Callable[[], int]
"""A clock in ns whose start does not matter, such as `time.perf_counter_ns`."""

Measure = Callable[[], float]
"""Makes one call and says how long it took, in ms."""


def host_timed(call: Call, clock: Clock) -> Measure:
    """Measure a call by the host's clock."""

    def measure() -> float:
        start = clock()
        call()
        return (clock() - start) / 1e6

    return measure


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection inside the block."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
