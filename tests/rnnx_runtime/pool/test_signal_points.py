"""A signal's handler at every place where CPython may run one: after each call, and where functions and loops begin.

Real signals meet few of these places in a run; a trace meets each of them once.
"""

import dis
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from tests.rnnx_runtime.pool.conftest import end
from tests.rnnx_runtime.pool.fakes import frame, in_threads, session_of

import rnnx_runtime
from rnnx_runtime import PoolClosedError, RnnxError
from rnnx_runtime.pool import CompletionQueue, PoolOptions, StreamPool, running_pool

SOURCES = str(Path(rnnx_runtime.__file__).parent)
CHECKED = ("CALL", "RESUME", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")
"""After these instructions the interpreter looks for signals: https://github.com/python/cpython/blob/3.11/Python/ceval.c"""


class Interruption:
    """Calls a handler once, at the n-th place of what this thread does in the runtime from now on."""

    def __init__(self, at: int, handler: Callable[[], object]) -> None:
        self.places = 0
        self._at = at
        self._handler = handler
        self._last: dict[FrameType, str] = {}

    def __enter__(self) -> "Interruption":
        sys._getframe().f_trace_opcodes = True  # Python 3.12 traces no opcodes unless a frame asked before settrace
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter(self, found: FrameType, event: str, arg: object) -> Any:
        if not found.f_code.co_filename.startswith(SOURCES):
            return None
        found.f_trace_opcodes, found.f_trace_lines = True, False
        return self._trace

    def _trace(self, found: FrameType, event: str, arg: object) -> Any:
        if event == "opcode":
            if self._last.get(found, "").startswith(CHECKED):
                self.places += 1
                if self.places == self._at:
                    self._handler()  # untraced, as all that a trace function calls
            self._last[found] = dis.opname[found.f_code.co_code[found.f_lasti]]
        return self._trace


def new_pool() -> StreamPool:
    return StreamPool(session_of()[0], PoolOptions(max_streams=8, max_wait_us=0))


def use(pool: StreamPool) -> None:
    """Most of what a handler may call, with waits for what the pool's thread does."""
    with suppress(PoolClosedError), pool.open() as stream:
        cancelled = stream.submit(frame(1))
        cancelled.cancel()
        stream.push(frame(2))
        stream.snapshot()
        pool.describe()


def push(pool: StreamPool) -> None:
    with pool.open() as stream:
        stream.submit(frame(1))
        stream.push(frame(2))


def take(pool: StreamPool) -> None:
    queue = CompletionQueue()
    with pool.open() as stream:
        asked = stream.submit(frame(1), into=queue)
        assert queue.take() == [asked]


def cancel(pool: StreamPool) -> None:
    with pool.open() as stream:
        stream.submit(frame(1)).cancel()


def swap(pool: StreamPool) -> None:
    pool.swap(session_of()[0])


OPERATIONS: dict[str, Callable[[StreamPool], object]] = {
    "push": push,
    "take": take,
    "cancel": cancel,
    "swap": swap,
    "close": lambda pool: pool.close(),
    "close-at-once": lambda pool: pool.close(drain=False),
}
HANDLERS: dict[str, Callable[[StreamPool], object]] = {
    "use": use,
    "swap": lambda pool: suppress_closed(lambda: swap(pool)),
    "close": lambda pool: pool.close(),
    "close-at-once": lambda pool: pool.close(drain=False),
}


def suppress_closed(call: Callable[[], object]) -> None:
    with suppress(PoolClosedError):
        call()


@pytest.fixture
def all_may_be_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the pool take every thread for the main one, where alone handlers of real signals run."""
    monkeypatch.setattr(running_pool, "main_thread", threading.current_thread)


@pytest.mark.usefixtures("all_may_be_interrupted")
@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_handler_may_use_and_close_the_pool_wherever_it_interrupts(operation: str, handler: str) -> None:
    def interrupt_everywhere() -> int:
        at = 1
        while True:
            pool = new_pool()
            with suppress(RnnxError), Interruption(at, lambda pool=pool: HANDLERS[handler](pool)) as interruption:  # type: ignore[misc]
                OPERATIONS[operation](pool)
            end(pool)
            if interruption.places < at:
                return at
            at += 3 if operation != handler else 2

    assert in_threads([interrupt_everywhere])[0] > 10


def test_a_handler_may_close_a_session_wherever_it_interrupts_a_call() -> None:
    def interrupt_everywhere() -> None:
        at = 1
        while True:
            session, backend = session_of()
            with suppress(RnnxError), Interruption(at, session.close) as interruption:
                session.run(np.zeros((1, 1, 3), np.float32))
            session.close()
            assert backend.closed == 1
            if interruption.places < at:
                return
            at += 1

    in_threads([interrupt_everywhere])
    assert threading.active_count() < 100
