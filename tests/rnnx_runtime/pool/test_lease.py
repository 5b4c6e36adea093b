"""Pools and streams that nobody closed and nobody holds any more."""

import asyncio
import gc
import sys
import warnings
import weakref
from typing import Any

import numpy as np
import pytest
from tests.rnnx_runtime.pool.conftest import MakePool, pool_threads
from tests.rnnx_runtime.pool.fakes import chunk, frame, lone, session_of, wait_until

from rnnx_runtime.pool import PoolOptions, StreamPool


def test_a_stream_that_nobody_holds_gives_its_slot_back_with_a_warning(make_pool: MakePool) -> None:
    pool, _ = make_pool(max_streams=1)
    stream = pool.open("ann")
    stream.push(frame(1))
    with pytest.warns(ResourceWarning, match="unclosed stream 'ann'"):
        del stream
    wait_until(lambda: len(pool.slots.free) == 1, "the slot is free")
    with pool.open() as again:
        assert np.array_equal(again.push(frame(1)), lone().push(frame(1)))


def test_what_it_had_pushed_still_runs(make_pool: MakePool) -> None:
    pool, backend = make_pool(max_streams=1)
    backend.hold()
    with pytest.warns(ResourceWarning, match="unclosed stream"):
        pushes = [pool.open().submit(chunk(1, 2))]
    backend.let_go()
    assert np.array_equal(pushes[0].result(), lone().push(chunk(1, 2)))
    wait_until(lambda: len(pool.slots.free) == 1, "the slot is free")


def test_a_stream_of_an_event_loop_keeps_the_slot_of_the_one_it_came_from(make_pool: MakePool) -> None:
    pool, _ = make_pool(max_streams=1)

    async def talk() -> None:
        stream = await pool.open("ann").__aenter__()
        gc.collect()
        assert np.array_equal(await stream.push(frame(1)), lone().push(frame(1)))
        with pytest.warns(ResourceWarning, match="unclosed stream 'ann'"):
            del stream

    asyncio.run(talk())
    wait_until(lambda: len(pool.slots.free) == 1, "the slot is free")


@pytest.mark.parametrize("end", ["close", "with", "evicted", "pool"])
def test_no_warning_where_it_was_closed_or_its_place_is_gone(make_pool: MakePool, end: str) -> None:
    pool, _ = make_pool(idle_s=0.02 if end == "evicted" else None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream = pool.open()
        if end == "close":
            stream.close()
        elif end == "with":
            with stream:
                pass
        elif end == "evicted":
            wait_until(lambda: not pool.metrics().streams, "it is evicted")
        else:
            pool.close()
        del stream
        gc.collect()


def test_a_finalizer_that_runs_while_the_pools_lock_is_held_does_not_wait(make_pool: MakePool) -> None:
    """A collection may start anywhere, also in a thread that holds the lock, or while another does."""
    pool, _ = make_pool(max_streams=2)
    loop: list[Any] = [pool.open()]
    loop.append(loop)
    del loop
    with pool.lock, pytest.warns(ResourceWarning, match="unclosed stream"):
        gc.collect()
    wait_until(lambda: len(pool.slots.free) == 2, "the slot is free")


def test_a_warning_that_is_an_error_costs_no_slot_and_leaves_no_pool(make_pool: MakePool) -> None:
    pool, _ = make_pool(max_streams=1)
    session, backend = session_of()
    complaints: list[Any] = []
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sys, "unraisablehook", complaints.append)
        warnings.simplefilter("error")
        pool.open()
        StreamPool(session)
    wait_until(lambda: len(pool.slots.free) == 1, "the slot is free")
    wait_until(lambda: backend.closed == 1, "the session is closed")
    assert len(complaints) == 2


def unheld(session: Any, **options: Any) -> Any:
    """A weak reference to a pool that has worked, and that nobody holds any more."""
    pool = StreamPool(session, PoolOptions(**options))
    stream = pool.open()
    stream.push(frame(1))
    return weakref.ref(pool)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_pool_that_nobody_holds_ends_its_threads_and_closes_its_session() -> None:
    session, backend = session_of()
    assert unheld(session)() is None
    wait_until(lambda: not pool_threads(), "its threads end")
    wait_until(lambda: backend.closed == 1, "its session is closed")


def test_it_says_so(make_pool: MakePool) -> None:
    session, backend = session_of()
    pool = StreamPool(session)
    with pytest.warns(ResourceWarning, match="unclosed <StreamPool: serving, 0 of 1024 streams>"):
        del pool
    wait_until(lambda: backend.closed == 1, "its session is closed")


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_pool_lives_as_long_as_one_of_its_streams() -> None:
    session, backend = session_of()
    stream = StreamPool(session).open()
    gc.collect()
    assert np.array_equal(stream.push(frame(1)), lone().push(frame(1)))
    push = stream.submit(frame(2))
    del stream
    assert push.result() is not None
    wait_until(lambda: backend.closed == 1, "its session is closed")


def test_no_warning_of_a_pool_that_was_closed_or_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with StreamPool(session_of()[0]) as pool:
            stream = pool.open()
        del stream, pool
        with pytest.raises(Exception, match="bidirectional"):
            StreamPool(session_of(directions=2)[0])
        gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_three_hundred_pools_that_nobody_closes_leave_nothing_behind() -> None:
    backends = []
    for _ in range(300):
        session, backend = session_of()
        unheld(session, max_streams=2)
        backends.append(backend)
    wait_until(lambda: not pool_threads(), "all threads end")
    wait_until(lambda: all(backend.closed == 1 for backend in backends), "all sessions are closed")
