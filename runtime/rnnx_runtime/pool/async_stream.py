"""One conversation in a pool, for an event loop."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from rnnx_runtime.pool.conversation import Conversation
from rnnx_runtime.pool.requests import Given, Request, late_after
from rnnx_runtime.state import State


class AsyncPoolStream(Conversation):
    """One conversation in a pool, used from an event loop."""

    async def push(self, x: Any, *, timeout_s: float | None = None) -> Any:
        """Push a frame or a chunk and wait for its output; shapes and errors as `PoolStream.push`.

        Cancelling the task takes the push back, unless its output was already certain.
        """
        return await self._pushed(self.checked(x), timeout_s)

    async def flush(self, x: Any = None, *, timeout_s: float | None = None) -> Any:
        """End the sequence, and wait for what a model that gives its results late still owes; as `PoolStream.flush`."""
        given = self.checked_last(x)
        if given is not None:
            return await self._pushed(given, timeout_s)
        results = await self._ask(self.ender(), timeout_s)
        return results if self.is_by_name(x) else next(iter(results.values()))

    async def _pushed(self, given: Given, timeout_s: float | None) -> Any:
        future = asyncio.get_running_loop().create_future()
        push = self._pool.submit(self._seat, given, timeout_s, future)
        return await _result_of(push, timeout_s)

    async def state(self) -> State:
        """The state after all pushes so far, with B = 1."""
        state: State = await self._ask(self.read_state)
        return state

    async def reset(self, state: Mapping[str, Any] | None = None) -> None:
        """Start again from a state with B = 1, or zeros; errors as `PoolStream.reset`."""
        await self._ask(self.resetter(state))

    async def snapshot(self) -> bytes:
        """The state after all pushes so far, to go on from in any process and on any backend."""
        data: bytes = await self._ask(self.take_snapshot)
        return data

    async def restore(self, data: bytes, *, any_weights: bool = False) -> None:
        """Go on from a snapshot; errors as `PoolStream.restore`."""
        await self._ask(self.restorer(data, any_weights))

    async def _ask(self, function: Callable[[], Any], timeout_s: float | None = None) -> Any:
        call = self.call(function, asyncio.get_running_loop().create_future())
        self._pool.post(call)
        return await _result_of(call, timeout_s)


async def _result_of(request: Request, timeout_s: float | None) -> Any:
    future = request.future
    timer = None if timeout_s is None else future.get_loop().call_later(timeout_s, _expire, request, timeout_s)
    try:
        result = await future
    except asyncio.CancelledError:
        request.cancel()
        raise
    finally:
        if timer is not None:
            timer.cancel()
    return result


def _expire(request: Request, timeout_s: float) -> None:
    if request.drop(late_after(timeout_s)) and not request.future.done():
        request.future.set_exception(late_after(timeout_s))
