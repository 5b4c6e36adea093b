"""Handing results to those who wait for them: threads, and event loops."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from rnnx_runtime.pool.requests import Request


def deliver(requests: Iterable[Request]) -> None:
    """Settle requests: threads wake up, and each event loop is called once for all that are its own."""
    loops: dict[Any, list[Request]] = {}
    for request in requests:
        request.settle()
        if request.future is not None:
            loops.setdefault(request.future.get_loop(), []).append(request)
    for loop, own in loops.items():
        with contextlib.suppress(RuntimeError):  # a loop that was closed has nobody who waits
            loop.call_soon_threadsafe(_resolve, own)


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
