"""Handing results to those who wait for them: threads, completion queues, and event loops."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from rnnx_runtime.pool.completions import CompletionQueue
from rnnx_runtime.pool.requests import Request


def deliver(requests: Iterable[Request]) -> None:
    """Settle requests: threads wake up, and each queue and event loop is called once for all that are its own."""
    homes: dict[Any, list[Any]] = {}
    for request in requests:
        request.settle()
        future = request.future
        if future is not None:
            homes.setdefault(future if type(future) is CompletionQueue else future.get_loop(), []).append(request)
    for home, own in homes.items():
        if type(home) is CompletionQueue:
            home.put(own)
        else:
            with contextlib.suppress(RuntimeError):  # a loop that was closed has nobody who waits
                home.call_soon_threadsafe(_resolve, own)


def _resolve(requests: Sequence[Request]) -> None:
    """Resolve the futures of settled requests; runs in their event loop."""
    for request in requests:
        future = request.future
        if future.done():  # cancelled, or late
            continue
        try:
            future.set_result(request.outcome())
        except Exception as error:
            future.set_exception(error)
