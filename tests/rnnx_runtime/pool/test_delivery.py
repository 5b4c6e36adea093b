import asyncio
from typing import Any

import numpy as np
import pytest
from tests.rnnx_runtime.pool.fakes import Array, frame

from rnnx_runtime import PushCancelled
from rnnx_runtime.pool.delivery import deliver
from rnnx_runtime.pool.inbox import Inbox
from rnnx_runtime.pool.requests import Push, Seat

INBOX = Inbox(9)


def settled(value: float, future: Any = None) -> Push:
    """A push whose output is there."""
    push = Push(Seat("a", 0, 0.0), INBOX.lock, (frame(1),), future)
    push.y = [np.full(2, value, np.float32)]
    return push


def failed(future: Any = None) -> Push:
    push = settled(0, future)
    push.fail(PushCancelled("push", got="a cancellation", expected="an output", remedy="push again"))
    return push


def test_a_thread_gets_its_output_or_its_error() -> None:
    done, broken = settled(1), failed()
    deliver([done, broken])
    assert done.result().tolist() == [1, 1]
    with pytest.raises(PushCancelled):
        broken.result()


def test_a_loop_is_called_once_for_all_that_are_its_own() -> None:
    async def wait() -> tuple[list[Array], int]:
        loop = asyncio.get_running_loop()
        calls = 0
        original = loop.call_soon_threadsafe

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            return original(*args, **kwargs)

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign, assignment]
        futures = [loop.create_future() for _ in range(3)]
        await asyncio.to_thread(deliver, [settled(place, future) for place, future in enumerate(futures)])
        found = calls - 1  # one of to_thread itself
        return [await future for future in futures], found

    outputs, calls = asyncio.run(wait())
    assert [output.tolist() for output in outputs] == [[0, 0], [1, 1], [2, 2]]
    assert calls == 1


def test_an_error_reaches_the_task_and_a_cancelled_future_is_left_alone() -> None:
    async def wait() -> None:
        loop = asyncio.get_running_loop()
        broken, gone = loop.create_future(), loop.create_future()
        gone.cancel()
        deliver([settled(1, gone), failed(broken)])
        with pytest.raises(PushCancelled):
            await broken
        assert gone.cancelled()

    asyncio.run(wait())


def test_a_closed_loop_does_not_keep_others_from_their_results() -> None:
    gone = asyncio.new_event_loop()
    lost = settled(1, gone.create_future())
    gone.close()

    async def wait() -> Any:
        future = asyncio.get_running_loop().create_future()
        deliver([lost, settled(2, future)])
        return (await future).tolist()

    assert asyncio.run(wait()) == [2, 2]
    assert lost.is_done
