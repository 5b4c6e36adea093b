import logging
import threading
import time
from typing import Any

import numpy as np
import pytest
from tests.rnnx_runtime.pool.conftest import MakePool, pool_threads
from tests.rnnx_runtime.pool.fakes import (
    PATIENCE_S,
    ManualClock,
    chunk,
    frame,
    in_threads,
    lone,
    same_state,
    session_of,
    wait_until,
)

from rnnx_runtime import (
    BackendError,
    PoolClosedError,
    RnnxError,
    StepTimeout,
    StreamEvicted,
)
from rnnx_runtime.pool import StreamPool

STEP_S = 0.04
"""A step's timeout in tests that stall it: looked at every 10 ms, and over when the clock is put forward."""


def stall(pool: StreamPool, clock: ManualClock) -> None:
    """Put the clock forward while a step is held, and wait for the watch to see it."""
    clock.advance(2 * STEP_S)
    wait_until(lambda: pool.describe()["status"] == "stalled", "the watch sees the step that hangs")


# A backend that fails


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ValueError("no memory"), id="any-exception"),
        pytest.param(BackendError("a run", got="a fault", expected="a result", remedy="retry"), id="rnnx-error"),
        pytest.param(MemoryError(), id="memory"),
    ],
)
def test_a_backend_that_raises_fails_each_push_of_its_step_and_the_pool_goes_on(
    make_pool: MakePool, error: Exception
) -> None:
    pool, backend = make_pool()
    streams, expected = [pool.open() for _ in range(4)], [lone() for _ in range(4)]
    for stream, one in zip(streams, expected, strict=True):
        assert np.array_equal(stream.push(frame(1)), one.push(frame(1)))
    backend.hold()
    first = streams[0].submit(frame(2))
    backend.wait_until_held()
    pushes = [stream.submit(frame(3)) for stream in streams]
    backend.let_one_go()
    backend.wait_until_held()  # the step of all four
    backend.failures.append(error)
    backend.let_go()
    assert np.array_equal(first.result(), expected[0].push(frame(2)))
    caught = [error_of(push) for push in pushes]
    assert all(isinstance(each, BackendError) for each in caught)
    assert len({id(each) for each in caught}) == 4
    if not isinstance(error, RnnxError):
        assert str(caught[0]).startswith(f"a step: got {type(error).__name__}: {error}, expected a result")
    for stream, one in zip(streams, expected, strict=True):
        assert same_state(stream.state, one.state)
        assert np.array_equal(stream.push(frame(4)), one.push(frame(4)))
    assert pool.metrics().rejections["failed"] == 4
    assert pool.metrics().queue_depth == 0


def error_of(push: Any) -> RnnxError:
    with pytest.raises(RnnxError) as caught:
        push.result(timeout_s=PATIENCE_S)
    return caught.value


@pytest.mark.parametrize("changes", [{}, {"form": "step"}], ids=["encoder", "step"])
def test_a_backend_that_raises_in_the_middle_of_a_chunk_undoes_it(make_pool: MakePool, changes: dict[str, Any]) -> None:
    pool, backend = make_pool(contract=changes, max_frames=2)
    expected = lone(**changes)
    stream = pool.open()
    assert np.array_equal(stream.push(frame(1)), expected.push(frame(1)))
    backend.hold()
    push = stream.submit(chunk(2, 3, 4, 5, 6))
    backend.wait_until_held()
    backend.let_one_go()
    backend.wait_until_held()
    backend.failures.append(ValueError("no"))
    backend.let_go()
    assert "ValueError: no" in str(error_of(push))
    assert same_state(stream.state, expected.state)
    assert np.array_equal(stream.push(chunk(7, 8, 9)), expected.push(chunk(7, 8, 9)))


def test_a_push_that_was_cancelled_in_a_step_that_fails_stays_cancelled(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    stream = pool.open()
    backend.hold()
    push = stream.submit(frame(1))
    backend.wait_until_held()
    assert push.cancel()
    backend.failures.append(ValueError("no"))
    backend.let_go()
    assert np.array_equal(stream.push(frame(2)), lone().push(frame(2)))
    assert pool.metrics().rejections == {"overloaded": 0, "late": 0, "cancelled": 1, "failed": 0, "closed": 0}


@pytest.mark.parametrize("error", [SystemExit("bye"), KeyboardInterrupt()], ids=lambda error: type(error).__name__)
def test_nobody_waits_for_a_pool_whose_thread_has_died(
    make_pool: MakePool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    pool, backend = make_pool()
    streams = [pool.open() for _ in range(3)]
    backend.hold()
    backend.failures.append(error)
    pushes = [stream.submit(frame(1)) for stream in streams for _ in range(2)]
    backend.let_go()
    for push in pushes:
        assert "pool: got a defect in its thread" in str(error_of(push))
    with pytest.raises(BackendError, match="make a new pool"):
        streams[0].push(frame(1))
    with pytest.raises(BackendError):
        _ = streams[0].state
    assert pool.describe()["status"] == "failed"
    wait_until(lambda: "rnnx-pool" not in pool_threads(), "the thread ends")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    pool.close()
    assert backend.closed == 1


def test_outputs_that_were_on_their_way_out_when_the_thread_died_are_an_error(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Their effect was certain, so no error was allowed any more; but there is nothing to hand out."""
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    pool, _ = make_pool()

    def fail(*args: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(pool.slots, "scatter", fail)
    assert "a defect in its thread (MemoryError())" in str(error_of(pool.open().submit(frame(1))))
    wait_until(lambda: "rnnx-pool" not in pool_threads(), "the thread ends")


# A step that hangs


def test_a_step_that_hangs_fails_what_waits_refuses_what_comes_and_recovers(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock, step_timeout_s=STEP_S, max_frames=2)
    one, other, expected = pool.open(), pool.open(), lone()
    assert np.array_equal(one.push(frame(1)), expected.push(frame(1)))
    backend.hold()
    pushes = [one.submit(chunk(2, 3, 4)), one.submit(frame(5)), other.submit(frame(6))]
    backend.wait_until_held()
    stall(pool, clock)
    for push in pushes:
        assert str(error_of(push)).startswith("a step on fake: got no result within 0.04 s, expected a result; the poo")
    for ask in (lambda: one.push(frame(9)), lambda: other.submit(frame(9)), lambda: one.state, one.snapshot):
        with pytest.raises(StepTimeout):
            ask()
    assert pool.metrics().stalls == 1
    newcomer = pool.open()
    backend.let_go()
    wait_until(lambda: pool.describe()["status"] == "serving", "the pool recovers")
    assert same_state(one.state, expected.state)
    assert np.array_equal(one.push(frame(7)), expected.push(frame(7)))
    for stream in (other, newcomer):
        assert np.array_equal(stream.push(frame(7)), lone().push(frame(7)))
    assert pool.metrics().queue_depth == 0
    assert pool.metrics().rejections["failed"] == 3


def test_a_chunk_whose_second_step_hangs_is_undone(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock, step_timeout_s=STEP_S, max_frames=2)
    stream, expected = pool.open(), lone()
    assert np.array_equal(stream.push(frame(1)), expected.push(frame(1)))
    backend.hold()
    push = stream.submit(chunk(2, 3, 4, 5))
    backend.wait_until_held()
    backend.let_one_go()
    backend.wait_until_held()
    stall(pool, clock)
    assert isinstance(error_of(push), StepTimeout)
    backend.let_go()
    wait_until(lambda: pool.describe()["status"] == "serving", "the pool recovers")
    assert same_state(stream.state, expected.state)


def test_a_step_that_comes_back_with_an_error_after_it_hung_recovers_too(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock, step_timeout_s=STEP_S)
    stream = pool.open()
    backend.hold()
    push = stream.submit(frame(1))
    backend.wait_until_held()
    stall(pool, clock)
    assert isinstance(error_of(push), StepTimeout)
    backend.failures.append(ValueError("no"))
    backend.let_go()
    wait_until(lambda: pool.describe()["status"] == "serving", "the pool recovers")
    assert np.array_equal(stream.push(frame(2)), lone().push(frame(2)))


def test_an_idle_pool_never_counts_as_hanging(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, _ = make_pool(clock=clock, step_timeout_s=STEP_S)
    stream = pool.open()
    stream.push(frame(1))
    clock.advance(1e6)
    time.sleep(2 * STEP_S)
    assert pool.metrics().stalls == 0
    stream.push(frame(1))


def test_close_does_not_wait_for_a_step_that_hangs(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock, step_timeout_s=STEP_S)
    stream = pool.open()
    backend.hold()
    push = stream.submit(frame(1))
    backend.wait_until_held()
    stall(pool, clock)
    pool.close()
    assert pool.describe()["status"] == "closed"
    assert backend.closed == 0
    assert pool_threads() == ["rnnx-pool"]
    assert isinstance(error_of(push), StepTimeout)
    backend.let_go()
    wait_until(lambda: backend.closed == 1, "the session is closed when its step returns")


def test_a_pool_that_stalls_while_it_drains_stays_closed(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock, step_timeout_s=STEP_S)
    stream = pool.open()
    backend.hold()
    push = stream.submit(frame(1))
    backend.wait_until_held()
    closing = threading.Thread(target=pool.close)
    closing.start()
    wait_until(lambda: pool.describe()["status"] == "draining", "it drains")
    clock.advance(2 * STEP_S)
    closing.join(PATIENCE_S)
    assert isinstance(error_of(push), StepTimeout)
    backend.let_go()
    wait_until(lambda: backend.closed == 1, "the session is closed")
    for ask in (lambda: stream.push(frame(1)), pool.open, lambda: stream.state):
        with pytest.raises(PoolClosedError):
            ask()


def test_a_step_that_comes_back_as_the_pool_closes_does_not_open_it_again(make_pool: MakePool) -> None:
    for _ in range(10):
        clock = ManualClock()
        pool, backend = make_pool(clock=clock, step_timeout_s=STEP_S)
        stream = pool.open()
        backend.hold()
        stream.submit(frame(1))
        backend.wait_until_held()
        stall(pool, clock)
        in_threads([pool.close, backend.let_go])
        with pytest.raises(PoolClosedError):
            stream.push(frame(1))
        wait_until(lambda backend=backend: backend.closed == 1, "the session is closed")  # type: ignore[misc]


def test_a_new_model_takes_over_from_one_that_hangs(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock, step_timeout_s=STEP_S, max_frames=2)
    one, other, expected = pool.open(), pool.open(), lone()
    assert np.array_equal(one.push(frame(1)), expected.push(frame(1)))
    backend.hold()
    lost = [one.submit(chunk(2, 3, 4))]
    backend.wait_until_held()
    lost.append(other.submit(frame(5)))
    backend.let_one_go()
    backend.wait_until_held()
    stall(pool, clock)
    fresh, fresh_backend = session_of()
    pool.swap(fresh)
    assert pool.describe()["status"] == "serving"
    assert all(isinstance(error_of(push), StepTimeout) for push in lost)
    assert same_state(one.state, expected.state)
    assert np.array_equal(one.push(frame(6)), expected.push(frame(6)))
    assert np.array_equal(other.push(frame(6)), lone().push(frame(6)))
    assert (backend.closed, fresh_backend.closed) == (0, 0)
    backend.let_go()
    wait_until(lambda: backend.closed == 1, "the old session is closed when its step returns")
    assert np.array_equal(one.push(frame(7)), expected.push(frame(7)))
    assert pool.metrics().swaps == 1
    assert pool.metrics().queue_depth == 0
    pool.close()
    assert fresh_backend.closed == 1


def test_a_new_model_that_hangs_too_can_be_swapped_again(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock, step_timeout_s=STEP_S)
    stream, expected = pool.open(), lone()
    backends = [backend]
    for turn in range(3):
        assert np.array_equal(stream.push(frame(turn)), expected.push(frame(turn)))
        backends[-1].hold()
        stream.submit(frame(99))
        backends[-1].wait_until_held()
        stall(pool, clock)
        session, fresh = session_of()
        backends.append(fresh)
        pool.swap(session)
    assert np.array_equal(stream.push(frame(3)), expected.push(frame(3)))
    for each in backends:
        each.let_go()
    wait_until(lambda: all(each.closed for each in backends[:3]), "the old sessions are closed")
    assert same_state(stream.state, expected.state)


def test_a_close_of_a_stream_during_a_stall_frees_its_slot_in_the_end(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock, step_timeout_s=STEP_S, max_streams=1)
    stream = pool.open()
    backend.hold()
    stream.submit(frame(1))
    backend.wait_until_held()
    stream.close()
    stall(pool, clock)
    backend.let_go()
    wait_until(lambda: len(pool.slots.free) == 1, "the slot is free")
    assert np.array_equal(pool.open().push(frame(1)), lone().push(frame(1)))


# Streams that nobody uses


def test_an_idle_stream_is_evicted_with_a_snapshot_to_go_on_from(make_pool: MakePool) -> None:
    clock, evicted = ManualClock(), []
    pool, _ = make_pool(clock=clock, idle_s=10, on_evict=lambda name, data: evicted.append((name, data)))
    idle, busy, expected = pool.open("idle"), pool.open("busy"), lone()
    idle.push(chunk(1, 2))
    expected.push(chunk(1, 2))
    clock.advance(6)
    busy.push(frame(1))
    clock.advance(6)
    pool._inbox.ring()
    wait_until(lambda: bool(evicted), "the idle stream is evicted")
    assert [name for name, _ in evicted] == ["idle"]
    for ask in (lambda: idle.push(frame(3)), lambda: idle.state, idle.reset):
        with pytest.raises(
            StreamEvicted, match="stream 'idle': got a request after it was idle for longer than PoolOp"
        ):
            ask()
    idle.close()
    again = pool.open("idle", snapshot=evicted[0][1])
    assert np.array_equal(again.push(frame(3)), expected.push(frame(3)))
    busy.push(frame(2))
    assert pool.metrics().evictions == 1
    assert pool.metrics().streams == 2


def test_eviction_makes_room(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, _ = make_pool(clock=clock, idle_s=10, max_streams=2)
    for _ in range(2):
        pool.open().push(frame(1))
    clock.advance(11)
    pool._inbox.ring()
    wait_until(lambda: len(pool.slots.free) == 2, "both are evicted")
    assert np.array_equal(pool.open().push(frame(1)), lone().push(frame(1)))


def test_a_stream_whose_push_waits_or_took_long_is_not_idle(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock, idle_s=10, max_batch=1)
    slow, queued, late = pool.open(), pool.open(), pool.open()
    backend.hold()
    pushes = [slow.submit(frame(1)), queued.submit(frame(1))]
    backend.wait_until_held()
    pushes.append(late.submit(frame(1)))  # the pool's thread takes it in when the step is over
    clock.advance(100)
    backend.let_go()
    for push in pushes:
        push.result()
    pool._inbox.ring()
    for stream in (slow, queued, late):
        stream.push(frame(2))
    assert pool.metrics().evictions == 0


def test_an_evicted_stream_is_evicted_by_time_alone(make_pool: MakePool) -> None:
    """Nothing happens in the pool: it wakes up by itself to look."""
    pool, _ = make_pool(idle_s=0.02)
    stream = pool.open()
    wait_until(lambda: len(pool.slots.free) == 16, "the stream is evicted")
    with pytest.raises(StreamEvicted):
        stream.push(frame(1))


def test_an_on_evict_that_raises_costs_its_snapshot_and_nothing_else(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    pool, _ = make_pool(clock=clock, idle_s=10, on_evict=lambda name, data: 1 // 0)
    evicted = pool.open()
    clock.advance(11)
    pool._inbox.ring()
    wait_until(lambda: "ZeroDivisionError" in caplog.text, "the failure is logged")
    with pytest.raises(StreamEvicted):
        evicted.push(frame(1))
    with pool.open() as stream:
        assert np.array_equal(stream.push(frame(1)), lone().push(frame(1)))


def test_the_clock_may_jump_back_and_forth_without_evicting_who_pushes(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, _ = make_pool(clock=clock, idle_s=10)
    with pool.open() as stream:
        for jump in (-1e6, -5.0, 5.0, -1e6):
            stream.push(frame(1))
            clock.advance(jump)
            pool._inbox.ring()
            stream.push(frame(1))
        assert pool.metrics().evictions == 0


def test_a_push_that_races_an_eviction_runs_or_is_refused(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, _ = make_pool(clock=clock, idle_s=1, max_streams=2)
    stay, expected = pool.open(), lone()
    outcomes = []
    for turn in range(100):
        stream = pool.open()
        clock.advance(0.6)
        assert np.array_equal(stay.push(frame(turn)), expected.push(frame(turn)))
        clock.advance(0.6)  # now `stream` was idle for too long, and `stay` was not

        def push(stream: Any = stream) -> str:
            try:
                y = stream.push(frame(1))
            except StreamEvicted:
                return "evicted"
            return "ran" if np.array_equal(y, lone().push(frame(1))) else "wrong"

        def push_stay(turn: int = turn) -> None:
            stay.submit(frame(turn)).result()
            expected.push(frame(turn))

        outcomes.append(in_threads([push, push_stay])[0])
        stream.close()
        wait_until(lambda: len(pool.slots.free) == 1, "the slot is free")
    assert set(outcomes) <= {"ran", "evicted"}
