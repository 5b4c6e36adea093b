"""Ctrl-C during a long call into native code, which Python could otherwise notice only after its end."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Event, Thread
from typing import TypeVar

_POLL_S = 0.1
"""How long Ctrl-C may go unnoticed on systems where a waiting thread cannot be interrupted."""

Result = TypeVar("Result")


def run_interruptibly(work: Callable[[], Result], cancelled: Event) -> Result:
    """Run `work` in a thread while this one stays free; its result or its exception is this call's.

    On KeyboardInterrupt `cancelled` is set and the interrupt goes on at once. The thread is left to end by itself at
    the next step that looks at `cancelled`; it is no daemon, because ending the interpreter under a native library's
    thread crashes.
    """
    future: Future[Result] = Future()
    try:
        Thread(target=_fulfil, args=(future, work), name="rnnx build").start()
        while not future.done():
            wait([future], _POLL_S)
    except BaseException:
        cancelled.set()
        raise
    return future.result()


def _fulfil(future: Future[Result], work: Callable[[], Result]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)
