import json
import re
import signal
import threading
import time
from itertools import count
from typing import Any

import numpy as np
import pytest
from tests.rnnx_runtime.pool.conftest import MakePool, pool_threads
from tests.rnnx_runtime.pool.fakes import (
    PATIENCE_S,
    Lone,
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
    ContractError,
    InputError,
    PoolClosedError,
    PoolOverloaded,
    Session,
    SessionClosedError,
)
from rnnx_runtime.pool import PoolOptions, StreamPool


def is_closed(session: Session) -> bool:
    """Whether a session can no more be used."""
    try:
        session.run(np.zeros((1, 1, 3), np.float32))
    except SessionClosedError:
        return True
    return False


@pytest.mark.parametrize(
    "changes",
    [{"directions": 2}, {"state_inputs": False}, {"form": "unrolled", "steps": 3}],
    ids=["bidirectional", "no-state-inputs", "unrolled-3"],
)
def test_a_model_without_a_single_next_step_is_refused_and_starts_no_thread(changes: dict[str, Any]) -> None:
    session, _ = session_of(**changes)
    with pytest.raises(InputError, match=r"pool: got (a|3 unrolled)"):
        StreamPool(session)
    assert pool_threads() == []


def test_a_pool_has_two_threads_that_end_with_it() -> None:
    pool = StreamPool(session_of()[0])
    assert sorted(pool_threads()) == ["rnnx-pool", "rnnx-pool-housekeeper"]
    pool.close()
    assert pool_threads() == []


def test_one_stream_more_than_the_pool_holds_is_refused_until_one_leaves(make_pool: MakePool) -> None:
    pool, _ = make_pool(max_streams=3)
    streams = [pool.open() for _ in range(3)]
    with pytest.raises(PoolOverloaded, match=r"got 3 streams open, expected fewer than 3 \(PoolOptions.max_streams\)"):
        pool.open()
    streams[1].close()
    wait_until(lambda: bool(pool.slots.free), "the slot is free")
    assert np.array_equal(pool.open().push(frame(1)), lone().push(frame(1)))
    with pytest.raises(PoolOverloaded):
        pool.open()


def test_one_push_more_than_may_wait_is_refused_at_once_and_the_others_run(make_pool: MakePool) -> None:
    pool, backend = make_pool(max_queue=4)
    stream, expected = pool.open(), lone()
    backend.hold()
    pushes = [stream.submit(frame(value)) for value in range(4)]
    for _ in range(3):
        with pytest.raises(PoolOverloaded, match=r"got 4 pushes waiting, expected fewer than 4 \(PoolOptions.max_que"):
            stream.submit(frame(9))
    assert pool.metrics().queue_depth == 4
    backend.let_go()
    for value, push in enumerate(pushes):
        assert np.array_equal(push.result(), expected.push(frame(value)))
    assert np.array_equal(stream.push(frame(5)), expected.push(frame(5)))
    assert pool.metrics().rejections["overloaded"] == 3
    assert pool.metrics().queue_depth == 0


@pytest.mark.parametrize("streams", [1, 5, 31, 32, 33, 64, 100])
@pytest.mark.parametrize("max_batch", [4, 64])
def test_no_stream_starves_beside_streams_that_always_push(make_pool: MakePool, streams: int, max_batch: int) -> None:
    """The stated bound: each stream with work takes part in every n-th step, n = max(2, ⌈S / max_batch⌉)."""
    pool, backend = make_pool(max_streams=128, max_batch=max_batch, max_frames=2)
    opened = [pool.open() for _ in range(streams)]
    backend.hold()
    pushes = [opened[0].submit(frame(0))]
    backend.wait_until_held()
    for place, stream in enumerate(opened):
        longer = chunk(*[place] * 4) if place % 3 == 0 else None  # chunks and frames side by side
        pushes += [stream.submit(frame(place)) for _ in range(5)] if longer is None else [stream.submit(longer)] * 1
    pushes += [opened[0].submit(frame(0)) for _ in range(20)]
    backend.let_go()
    for push in pushes:
        push.result()
    bound = max(2, -(-streams // max_batch))
    steps = [set(map(int, run[0, :, 0])) for run in backend.frames[1:]]
    assert all(run.shape[1] <= max_batch for run in backend.frames)
    for place in range(streams):
        took_part = [index for index, step in enumerate(steps) if place in step]
        gaps = np.diff([-1, *took_part])
        assert gaps.max() <= bound, (place, took_part)


def test_a_chunk_goes_on_as_fast_as_frames_beside_it(make_pool: MakePool) -> None:
    """Of a chunk beside single frames each step runs one frame: neither waits for more than one of the other's."""
    pool, backend = make_pool(max_frames=16)
    chunks, frames = pool.open(), pool.open()
    backend.hold()
    first = frames.submit(frame(0))
    backend.wait_until_held()
    long = chunks.submit(chunk(*range(1, 9)))
    short = [frames.submit(frame(100 + value)) for value in range(4)]
    backend.let_go()
    for push in (first, *short, long):
        push.result()
    assert [run.shape[:2] for run in backend.frames] == [(1, 1), *[(1, 2)] * 4, (4, 1)]


def test_a_long_chunk_runs_in_parts_that_a_newcomer_can_come_between(make_pool: MakePool) -> None:
    pool, backend = make_pool(max_frames=3)
    one, other = pool.open(), pool.open()
    backend.hold()
    long = one.submit(chunk(*range(10)))
    backend.wait_until_held()
    newcomer = other.submit(frame(50))
    backend.let_go()
    assert np.array_equal(newcomer.result(), lone().push(frame(50)))
    assert np.array_equal(long.result(), lone().push(chunk(*range(10))))
    assert [run.shape[:2] for run in backend.frames] == [(3, 1), (1, 2), (3, 1), (3, 1)]


def test_a_fuller_batch_is_waited_for_where_that_is_asked(make_pool: MakePool) -> None:
    pool, backend = make_pool(adaptive=False, max_wait_us=1e7)
    streams = [pool.open() for _ in range(4)]
    pushes = [stream.submit(frame(place)) for place, stream in enumerate(streams)]
    for push in pushes:
        push.result(timeout_s=PATIENCE_S)
    assert [run.shape[1] for run in backend.frames] == [4]


@pytest.mark.parametrize("adaptive", [True, False], ids=["adaptive", "fixed"])
def test_an_idle_pool_sleeps(make_pool: MakePool, adaptive: bool) -> None:
    """It looks at its clock no more once it waits for a first push."""
    looks = count()

    def clock() -> float:
        next(looks)
        return time.monotonic()

    def is_asleep() -> bool:
        before = next(looks)
        time.sleep(0.05)
        return next(looks) == before + 1

    pool, _ = make_pool(clock=clock, max_wait_us=1000, adaptive=adaptive)
    wait_until(is_asleep, "it sleeps without streams")
    stream = pool.open()
    wait_until(is_asleep, "it sleeps beside a new stream")
    for _ in range(20):
        stream.push(frame(1))
    wait_until(is_asleep, "it sleeps after the pushes")


def test_a_swap_keeps_the_states_and_frees_the_old_session(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    newer, newer_backend = session_of(weights=5)
    stream = pool.open()
    stream.push(chunk(1, 2))
    state = stream.state
    pool.swap(newer)
    assert np.array_equal(stream.push(frame(3)), Lone(session_of(weights=5)[0], state).push(frame(3)))
    assert (backend.closed, newer_backend.closed) == (1, 0)
    assert pool.metrics().swaps == 1
    pool.close()
    assert (backend.closed, newer_backend.closed) == (1, 1)


@pytest.mark.parametrize("form", ["step", "unrolled"])
def test_a_swap_to_another_form_of_the_cell_keeps_the_states(make_pool: MakePool, form: str) -> None:
    pool, _ = make_pool()
    expected = lone()
    stream = pool.open()
    assert np.array_equal(stream.push(frame(1)), expected.push(frame(1)))
    pool.swap(session_of(form=form, steps=1 if form == "unrolled" else None)[0])
    assert np.array_equal(stream.push(chunk(2, 3)), expected.push(chunk(2, 3)))
    assert pool.describe()["model"]["form"] == form


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        pytest.param({"hidden_size": 5, "projection_size": 5}, ContractError, id="sizes"),
        pytest.param({"cell": "gru"}, ContractError, id="cell"),
        pytest.param({"directions": 2}, InputError, id="bidirectional"),
    ],
)
def test_an_unlike_model_is_refused_and_stays_the_callers(
    make_pool: MakePool, changes: dict[str, Any], kind: type[Exception]
) -> None:
    pool, backend = make_pool()
    other, other_backend = session_of(**changes)
    stream, expected = pool.open(), lone()
    assert np.array_equal(stream.push(frame(1)), expected.push(frame(1)))
    with pytest.raises(kind):
        pool.swap(other)
    assert np.array_equal(stream.push(frame(2)), expected.push(frame(2)))
    assert (backend.closed, other_backend.closed, pool.metrics().swaps) == (0, 0, 0)


def test_a_session_that_a_pool_runs_is_refused_by_each_pool(make_pool: MakePool) -> None:
    session, backend = session_of()
    other, _ = make_pool()
    with StreamPool(session) as pool, pool.open() as stream:
        for take in (lambda: pool.swap(session), lambda: other.swap(session), lambda: StreamPool(session)):
            with pytest.raises(InputError, match=r"got the session of a pool, .*; load the model once more for each"):
                take()
        assert np.array_equal(stream.push(frame(1)), lone().push(frame(1)))
        assert backend.closed == 0
    assert backend.closed == 1


def test_a_closed_session_is_refused_and_the_pool_lives_on(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    closed, _ = session_of()
    closed.close()
    with pool.open() as stream:
        for take in (lambda: pool.swap(closed), lambda: StreamPool(closed)):
            with pytest.raises(SessionClosedError):
                take()
        assert np.array_equal(stream.push(frame(1)), lone().push(frame(1)))
    assert (backend.closed, pool.metrics().swaps) == (0, 0)
    assert pool_threads().count("rnnx-pool") == 1


def test_what_is_no_session_is_refused(make_pool: MakePool) -> None:
    pool, _ = make_pool()
    for take in (pool.swap, StreamPool):
        with pytest.raises(InputError, match=r"session: got int, expected a Session; give what rnnx_runtime\.load"):
            take(5)  # type: ignore[arg-type]
    assert pool.metrics().swaps == 0


def test_a_session_that_was_refused_by_one_pool_can_go_to_another(make_pool: MakePool) -> None:
    unlike, _ = make_pool(contract={"hidden_size": 5, "projection_size": 5})
    ended, _ = make_pool()
    ended.close()
    session, backend = session_of(weights=5)
    with pytest.raises(ContractError):
        unlike.swap(session)
    with pytest.raises(PoolClosedError):
        ended.swap(session)
    pool, _ = make_pool()
    pool.swap(session)
    with pool.open() as stream:
        assert np.array_equal(stream.push(frame(1)), lone(5).push(frame(1)))
    pool.close()
    assert backend.closed == 1


def test_a_session_that_gave_way_is_closed_and_so_refused(make_pool: MakePool) -> None:
    pool, _ = make_pool()
    first, _ = session_of()
    pool.swap(first)
    pool.swap(session_of()[0])
    with pytest.raises(SessionClosedError):
        pool.swap(first)


def test_streams_push_on_while_models_are_swapped(make_pool: MakePool) -> None:
    pool, backend = make_pool(max_batch=3)
    backends = [backend]

    def push_on(stream: Any) -> None:
        expected = lone()
        for turn in range(150):
            x = chunk(turn, turn + 1, turn + 2) if turn % 3 == 0 else frame(turn)
            assert np.array_equal(stream.push(x), expected.push(x))
        assert same_state(stream.state, expected.state)

    def swap_on() -> None:
        for _ in range(60):
            session, new = session_of()
            backends.append(new)
            pool.swap(session)

    streams = [pool.open() for _ in range(4)]
    in_threads([*(lambda stream=stream: push_on(stream) for stream in streams), swap_on, swap_on])
    assert pool.metrics().swaps == 120
    assert sum(each.closed for each in backends) == 120
    assert all(each.closed <= 1 for each in backends)


def test_close_runs_what_waits_and_closes_the_session(make_pool: MakePool) -> None:
    pool, backend = make_pool(max_batch=1)
    expected = lone()
    stream = pool.open()
    backend.hold()
    pushes = [stream.submit(frame(value)) for value in range(20)]
    closing = threading.Thread(target=pool.close)
    closing.start()
    wait_until(lambda: pool.describe()["status"] == "draining", "it drains")
    with pytest.raises(PoolClosedError):
        stream.push(frame(9))
    backend.let_go()
    closing.join(PATIENCE_S)
    assert pool.describe()["status"] == "closed"
    for value, push in enumerate(pushes):
        assert np.array_equal(push.result(), expected.push(frame(value)))
    assert backend.closed == 1


def test_close_without_drain_fails_what_waits(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    stream = pool.open()
    backend.hold()
    pushes = [stream.submit(frame(value)) for value in range(20)]
    backend.wait_until_held()
    closing = threading.Thread(target=pool.close, kwargs={"drain": False})
    closing.start()
    for push in pushes:  # told at once, though the step is still held
        with pytest.raises(PoolClosedError):
            push.result(timeout_s=PATIENCE_S)
    backend.let_go()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert (backend.closed, len(backend.frames)) == (1, 1)


def test_close_without_drain_while_pushes_pour_in(make_pool: MakePool) -> None:
    """Failing what waits looks through queues that the pool's thread moves at the same time."""
    for _ in range(20):
        pool, backend = make_pool(max_batch=2)
        streams = [pool.open() for _ in range(6)]

        def pour(stream: Any) -> int:
            outputs = 0
            try:
                while True:
                    pushes = [stream.submit(frame(1)) for _ in range(20)]
                    for push in pushes:
                        push.result(timeout_s=PATIENCE_S)
                        outputs += 1
            except PoolClosedError:
                return outputs

        def close(pool: StreamPool = pool) -> None:
            wait_until(lambda: pool.metrics().pushes > 100, "pushes run")
            pool.close(drain=False)

        in_threads([*(lambda stream=stream: pour(stream) for stream in streams), close])
        assert backend.closed == 1
        assert pool.metrics().queue_depth == 0


def test_the_end_of_a_with_block_drains_and_an_error_in_it_does_not(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    with pool:
        push = pool.open().submit(frame(1))
    assert np.array_equal(push.result(), lone().push(frame(1)))
    failing, backend = make_pool(max_batch=1)
    backend.hold()
    with pytest.raises(KeyError), failing:  # noqa: PT012 - the error is raised in the block
        pushes = [failing.open().submit(frame(1)) for _ in range(3)]
        threading.Timer(0.05, backend.let_go).start()
        raise KeyError
    for push in pushes:
        with pytest.raises(PoolClosedError):
            push.result()


def test_closing_twice_is_harmless_and_both_wait(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    pool.close()
    pool.close()
    other, backend = make_pool()
    push = other.open().submit(frame(1))
    in_threads([other.close, other.close, lambda: other.close(drain=False)])
    assert push.is_done
    assert backend.closed == 1


def test_everything_after_close_is_refused_and_nothing_hangs(make_pool: MakePool) -> None:
    pool, _backend = make_pool()
    stream = pool.open()
    data = stream.snapshot()
    pool.close()
    newer, newer_backend = session_of()
    for ask in (
        lambda: stream.push(frame(1)),
        lambda: stream.submit(frame(1)),
        lambda: stream.state,
        stream.reset,
        stream.snapshot,
        lambda: stream.restore(data),
        pool.open,
        lambda: pool.open(snapshot=data),
        lambda: pool.swap(newer),
    ):
        with pytest.raises(PoolClosedError, match="pool: got a request after close, expected an open pool; make a new"):
            ask()
    stream.close()
    assert pool.metrics().streams == 1
    assert newer_backend.closed == 0


def test_whoever_asks_while_the_pool_closes_gets_an_answer(make_pool: MakePool) -> None:
    """Calls that come as the thread ends are run or refused, never left waiting."""
    for _ in range(60):
        pool, _ = make_pool()
        stream = pool.open()

        def ask_on(stream: Any = stream) -> None:
            try:
                while True:
                    stream.reset()
            except PoolClosedError:
                return

        in_threads([ask_on, ask_on, pool.close])


def test_a_wall_clock_that_is_set_does_not_matter(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, _backend = make_pool(idle_s=60, step_timeout_s=5)
    expected = lone()
    with pool.open() as stream:
        for turn, wall in enumerate((0.0, 4e9, -1e9, 1e300)):
            monkeypatch.setattr(time, "time", lambda wall=wall: wall)
            assert np.array_equal(stream.push(frame(turn), timeout_s=60), expected.push(frame(turn)))
    assert pool.metrics().evictions == pool.metrics().stalls == 0


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 1e9, -1e9], ids="{:+g}s".format)
@pytest.mark.parametrize("adaptive", [True, False], ids=["adaptive", "fixed"])
def test_pushes_go_on_when_the_pools_clock_jumps(make_pool: MakePool, jump: float, adaptive: bool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock, max_wait_us=2000, adaptive=adaptive)
    streams, expected = [pool.open() for _ in range(3)], [lone() for _ in range(3)]
    for turn in range(6):
        backend.hold()
        pushes = [stream.submit(frame(turn)) for stream in streams]
        clock.advance(jump)
        backend.let_go()
        for push, one in zip(pushes, expected, strict=True):
            clock.advance(0.001)
            assert np.array_equal(push.result(timeout_s=PATIENCE_S), one.push(frame(turn)))
        clock.advance(-jump if turn % 2 else 0)


def test_it_counts_what_happened(make_pool: MakePool) -> None:
    pool, backend = make_pool(max_frames=2)
    with pool.open() as stream:
        stream.push(frame(1))
        stream.push(chunk(1, 2, 3))
        backend.failures.append(ValueError("no"))
        with pytest.raises(Exception, match="no"):
            stream.push(frame(1))
    wait_until(lambda: not pool.metrics().streams, "the stream is closed")
    found = pool.metrics()
    assert (found.pushes, found.frames, found.steps, found.capacity) == (2, 4, 3, 16)
    assert found.rejections == {"overloaded": 0, "late": 0, "cancelled": 0, "failed": 1, "closed": 0}
    assert [found.batch_size.count, found.step_s.count, found.handling_s.count] == [3, 3, 3]
    assert [found.wait_s.count, found.latency_s.count] == [2, 2]


def test_a_latency_above_all_bounds_is_none_for_a_health_endpoint(make_pool: MakePool) -> None:
    pool, _backend = make_pool()
    pool.open().push(frame(1))
    pool._counters.latency_s.observe(1000.0)
    found = pool.describe()
    assert found["p50_latency_s"] is not None
    assert found["p99_latency_s"] is None


def test_a_health_endpoint_sees_what_the_pool_does(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, _backend = make_pool(clock=clock, max_queue=7, max_streams=3)
    pool.open().push(frame(1))
    clock.advance(12.5)
    found = pool.describe()
    assert found["status"] == "serving"
    assert found["model"] == {
        "cell": "lstm",
        "form": "encoder",
        "input_size": 3,
        "hidden_size": 4,
        "layers": 1,
        "source": "fake.pt",
        "weights_sha256": "ab" * 32,
    }
    assert found["backend"] == pool._running.worker.model.session.backend
    json.dumps(found, allow_nan=False)
    assert (found["device"], found["streams"], found["capacity"], found["max_queue"]) == ("fake", 1, 3, 7)
    assert (found["pushes"], found["queue_depth"], found["mean_batch"], found["uptime_s"]) == (1, 0, 1.0, 12.5)
    assert re.fullmatch("<StreamPool: serving, 1 of 3 streams>", repr(pool))
    pool.close()
    assert pool.describe()["status"] == "closed"


def test_a_pool_needs_no_options() -> None:
    with StreamPool(session_of()[0]) as pool, pool.open() as stream:
        assert np.array_equal(stream.push(frame(1)), lone().push(frame(1)))
        assert pool.options == PoolOptions()


def test_on_evict_may_open_swap_and_close(make_pool: MakePool) -> None:
    done: list[str] = []
    newer, newer_backend = session_of()

    def on_evict(name: str, snapshot: bytes) -> None:
        with pool.open(snapshot=snapshot) as again:
            again.submit(frame(1)).result()
        pool.swap(newer)
        pool.close()
        done.append(name)

    pool, backend = make_pool(idle_s=0.02, on_evict=on_evict)
    stream = pool.open("ann")
    wait_until(lambda: bool(done), "on_evict comes back")
    assert stream.name == "ann"
    assert done == ["ann"]
    assert pool.describe()["status"] == "closed"
    assert (backend.closed, newer_backend.closed) == (1, 1)


def test_an_interrupted_close_can_be_called_again(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    backend.hold()
    push = pool.open().submit(frame(1))
    backend.wait_until_held()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            pool.close()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert backend.closed == 0
    backend.let_go()
    pool.close()
    assert push.result() is not None
    assert backend.closed == 1
    assert pool_threads() == []


def test_an_interrupted_swap_leaves_the_session_with_its_caller(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    newer, newer_backend = session_of()
    backend.hold()
    pool.open().submit(frame(1))
    backend.wait_until_held()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            pool.swap(newer)
    finally:
        signal.signal(signal.SIGALRM, before)
    backend.let_go()
    with StreamPool(newer):
        assert pool.metrics().swaps == 0
    assert newer_backend.closed == 1
