"""What the pool's tests share: pools that are closed afterwards, with proof that nothing of them is left."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rnnx_runtime.pool.fakes import CellBackend, session_of, wait_until

from rnnx_runtime.pool import PoolOptions, StreamPool


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests leave streams to the end of their pool; what becomes of them, test_lease.py says."""
    here = f"{Path(__file__).parent}{os.sep}"
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed stream:ResourceWarning"))


MakePool = Callable[..., tuple[StreamPool, CellBackend]]


@pytest.fixture
def make_pool() -> Iterator[MakePool]:
    """Make a pool on the fake cell; `contract` changes its contract, `clock` is the pool's, the rest are options."""
    made: list[tuple[StreamPool, CellBackend]] = []

    def make(*, contract: dict[str, Any] | None = None, clock: Any = None, **options: Any) -> Any:
        session, backend = session_of(**(contract or {}))
        chosen = PoolOptions(**{"max_wait_us": 0, "max_streams": 16, **options})
        made.append((StreamPool(session, chosen, **({} if clock is None else {"clock": clock})), backend))
        return made[-1]

    yield make
    for pool, backend in made:
        backend.let_go()
        end(pool)
    wait_until(lambda: not pool_threads(), f"the end of {pool_threads()}")


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """No test leaves a thread of a pool behind."""
    yield
    wait_until(lambda: not pool_threads(), f"the end of {pool_threads()}")


def end(pool: StreamPool) -> None:
    """Close a pool, and count its slots: each is free, or one of a stream that was open when it closed."""
    for seat in list(pool._seats):
        pool.close_seat(seat)
    pool.close()
    assert len(pool._slots.free) + len(pool._seats) == pool.options.max_streams
    assert len(set(pool._slots.free)) == len(pool._slots.free)


def pool_threads() -> list[str]:
    """The threads of pools."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("rnnx-pool")]
