import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest
from tests.rnnx_runtime.pool.conftest import MakePool
from tests.rnnx_runtime.pool.fakes import PATIENCE_S, Lone, ManualClock, chunk, frame, lone, same_state, session_of

from rnnx_runtime import (
    BackendError,
    DeadlineExceeded,
    InputError,
    PoolClosedError,
    PoolOverloaded,
    SnapshotError,
    StepTimeout,
    StreamClosedError,
    StreamEvicted,
)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test in a loop; one that hangs fails."""
    asyncio.run(asyncio.wait_for(main, PATIENCE_S))


async def until_held(backend: Any) -> None:
    """Wait until one more run is held, and let others run meanwhile."""
    await asyncio.to_thread(backend.wait_until_held)


async def started(push: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task whose push has been queued."""
    task = asyncio.create_task(push)
    await asyncio.sleep(0)
    return task


def test_a_conversation_in_a_loop_is_what_a_lone_session_gives(make_pool: MakePool) -> None:
    pool, _ = make_pool()
    expected = lone()

    async def main() -> None:
        async with pool.open("ann") as stream:
            for x in (frame(1), chunk(2, 3, 4), frame(5)):
                assert np.array_equal(await stream.push(x), expected.push(x))
            assert same_state(await stream.state(), expected.state)
            data = await stream.snapshot()
            y = expected.push(frame(6))
            assert np.array_equal(await stream.push(frame(6)), y)
            await stream.restore(data)
            assert np.array_equal(await stream.push(frame(6)), y)
            await stream.reset()
            assert np.array_equal(await stream.push(frame(7)), lone().push(frame(7)))
            await stream.reset(expected.state)
            assert np.array_equal(await stream.push(frame(8)), expected.push(frame(8)))
            assert repr(stream).startswith("<AsyncPoolStream 'ann' of <StreamPool: serving")

    run(main())


def test_a_loops_streams_run_together_and_beside_those_of_threads(make_pool: MakePool) -> None:
    pool, backend = make_pool(max_streams=32)

    async def converse(place: int) -> None:
        expected = lone()
        async with pool.open() as stream:
            for turn in range(20):
                x = frame(100 * place + turn)
                assert np.array_equal(await stream.push(x), expected.push(x))

    def converse_in_thread() -> None:
        expected = lone()
        with pool.open() as stream:
            for turn in range(20):
                assert np.array_equal(stream.push(frame(turn)), expected.push(frame(turn)))

    async def main() -> None:
        await asyncio.gather(*(converse(place) for place in range(20)), asyncio.to_thread(converse_in_thread))

    run(main())
    assert max(run.shape[1] for run in backend.frames) > 1


def test_pushes_of_one_stream_from_several_tasks_keep_their_order(make_pool: MakePool) -> None:
    pool, _ = make_pool()
    expected = lone()

    async def main() -> None:
        async with pool.open() as stream:
            outputs = await asyncio.gather(*(stream.push(frame(value)) for value in range(30)))
            for value, y in enumerate(outputs):
                assert np.array_equal(y, expected.push(frame(value)))

    run(main())


def test_a_cancelled_task_takes_its_push_back(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    expected = lone()

    async def main() -> None:
        async with pool.open() as stream:
            backend.hold()
            running = await started(stream.push(frame(1)))
            await until_held(backend)
            queued, kept = await started(stream.push(frame(2))), await started(stream.push(frame(3)))
            running.cancel()
            queued.cancel()
            for task in (running, queued):
                with pytest.raises(asyncio.CancelledError):
                    await task
            backend.let_go()
            assert np.array_equal(await kept, expected.push(frame(3)))
            assert same_state(await stream.state(), expected.state)

    run(main())
    assert pool.metrics().rejections["cancelled"] == 2


def test_a_timeout_around_a_push_takes_it_back_too(make_pool: MakePool) -> None:
    pool, backend = make_pool()

    async def main() -> None:
        async with pool.open() as stream:
            backend.hold()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await stream.push(chunk(1, 2))
            backend.let_go()
            assert np.array_equal(await stream.push(frame(3)), lone().push(frame(3)))

    run(main())


def test_a_deadline_is_told_in_time_though_the_step_goes_on(make_pool: MakePool) -> None:
    pool, backend = make_pool()

    async def main() -> None:
        async with pool.open() as stream:
            backend.hold()
            begun = time.monotonic()
            with pytest.raises(DeadlineExceeded, match=r"no step within 0.02 s"):
                await stream.push(frame(1), timeout_s=0.02)
            assert time.monotonic() - begun < PATIENCE_S / 2
            backend.let_go()
            assert np.array_equal(await stream.push(frame(2), timeout_s=60), lone().push(frame(2)))

    run(main())
    assert pool.metrics().rejections["late"] == 1


def test_a_deadline_of_the_pools_clock_is_told_by_the_pool(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock)

    async def main() -> None:
        async with pool.open() as stream:
            backend.hold()
            first = await started(stream.push(frame(1)))
            await until_held(backend)
            late = await started(stream.push(frame(2), timeout_s=1000))
            clock.advance(1000)
            backend.let_go()
            await first
            with pytest.raises(DeadlineExceeded):
                await late

    run(main())


def test_errors_of_the_input_the_queue_and_the_backend_reach_the_task(make_pool: MakePool) -> None:
    pool, backend = make_pool(max_queue=1)

    async def main() -> None:
        async with pool.open() as stream:
            with pytest.raises(InputError):
                await stream.push(np.full(3, np.nan, np.float32))
            with pytest.raises(InputError, match="timeout_s"):
                await stream.push(frame(1), timeout_s=float("nan"))
            with pytest.raises(InputError):
                await stream.reset(3)  # type: ignore[arg-type]
            with pytest.raises(SnapshotError):
                await stream.restore(b"")
            backend.hold()
            first = await started(stream.push(frame(1)))
            with pytest.raises(PoolOverloaded):
                await stream.push(frame(2))
            backend.failures.append(ValueError("no"))
            backend.let_go()
            with pytest.raises(BackendError, match="ValueError: no"):
                await first
            assert np.array_equal(await stream.push(frame(3)), lone().push(frame(3)))

    run(main())


def test_a_closed_or_evicted_stream_refuses(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, _ = make_pool(clock=clock, idle_s=10)

    async def main() -> None:
        async with pool.open() as stream:
            await stream.push(frame(1))
        with pytest.raises(StreamClosedError):
            await stream.push(frame(1))
        with pytest.raises(StreamClosedError):
            await stream.state()
        async with pool.open() as idle:
            await idle.push(frame(1))
            clock.advance(11)
            pool._inbox.ring()
            while pool.metrics().streams:
                await asyncio.sleep(0.001)
            with pytest.raises(StreamEvicted):
                await idle.push(frame(1))

    run(main())


def test_a_pool_that_closes_answers_every_task(make_pool: MakePool) -> None:
    pool, backend = make_pool()

    async def main(drain: bool) -> None:
        streams = [await pool.open().__aenter__() for _ in range(4)]
        backend.hold()
        tasks = [await started(stream.push(frame(1))) for stream in streams for _ in range(3)]
        await until_held(backend)
        closing = asyncio.create_task(asyncio.to_thread(pool.close, drain=drain))
        while pool.describe()["status"] == "serving":
            await asyncio.sleep(0.001)
        if not drain:  # told at once, though the step is still held
            await asyncio.wait(tasks)
        backend.let_go()
        await closing
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, np.ndarray if drain else PoolClosedError) for result in results)

    run(main(drain=True))
    pool, backend = make_pool()
    run(main(drain=False))


def test_tasks_are_told_of_a_step_that_hangs(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock, step_timeout_s=0.04)

    async def main() -> None:
        async with pool.open() as stream:
            backend.hold()
            task = await started(stream.push(frame(1)))
            await until_held(backend)
            clock.advance(1)
            with pytest.raises(StepTimeout):
                await task
            backend.let_go()
            while pool.describe()["status"] != "serving":
                await asyncio.sleep(0.001)
            assert np.array_equal(await stream.push(frame(2)), lone().push(frame(2)))

    run(main())


def test_a_loop_that_ends_with_pushes_in_flight_harms_no_other(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    stay, expected = pool.open(), Lone(session_of()[0])
    backend.hold()

    async def leave() -> None:
        stream = await pool.open().__aenter__()
        for _ in range(3):
            await started(stream.push(frame(1)))
        await until_held(backend)

    asyncio.run(leave())  # cancels its tasks, and closes
    backend.let_go()
    for value in range(3):
        assert np.array_equal(stay.push(frame(value)), expected.push(frame(value)))


def test_two_loops_share_a_pool(make_pool: MakePool) -> None:
    pool, _ = make_pool()

    async def converse() -> None:
        expected = lone()
        async with pool.open() as stream:
            for turn in range(50):
                assert np.array_equal(await stream.push(frame(turn)), expected.push(frame(turn)))

    async def main() -> None:
        await asyncio.gather(*(asyncio.to_thread(asyncio.run, converse()) for _ in range(3)), converse())

    run(main())
