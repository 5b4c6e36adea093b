import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rnnx_runtime.errors import ForkedError, SessionClosedError
from rnnx_runtime.threads.call_gate import CallGate

SOON_S = 0.05
LATE_S = 10.0


@pytest.fixture
def freed() -> list[int]:
    """The threads that freed what is behind the gate."""
    return []


@pytest.fixture
def gate(freed: list[int]) -> CallGate:
    return CallGate(lambda: freed.append(threading.get_ident()))


def started(target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def test_closing_frees_once_and_lets_no_call_in(gate: CallGate, freed: list[int]) -> None:
    gate.enter()
    gate.leave()
    gate.close()
    gate.close()
    assert gate.is_closing
    assert len(freed) == 1
    with pytest.raises(SessionClosedError, match="got a call after close"):
        gate.enter()
    gate.close()


def test_closing_waits_for_every_call_in_flight(gate: CallGate, freed: list[int]) -> None:
    gate.enter()
    gate.enter()
    closer = started(gate.close)
    for _ in range(2):
        closer.join(SOON_S)
        assert closer.is_alive()
        assert freed == []
        gate.leave()
    closer.join(LATE_S)
    assert freed == [closer.ident], "freed by the closer, for a failure is its own"


def test_a_call_that_comes_while_one_closes_is_refused(gate: CallGate) -> None:
    gate.enter()
    closer = started(gate.close)
    while not gate.is_closing:
        closer.join(0.001)
    with pytest.raises(SessionClosedError):
        gate.enter()
    gate.leave()
    closer.join(LATE_S)
    assert not closer.is_alive()


def test_a_second_closer_waits_for_the_first() -> None:
    freeing, go_on = threading.Event(), threading.Event()

    def free() -> None:
        freeing.set()
        assert go_on.wait(LATE_S)

    gate = CallGate(free)
    first = started(gate.close)
    assert freeing.wait(LATE_S)
    second = started(gate.close)
    second.join(SOON_S)
    assert second.is_alive()
    go_on.set()
    second.join(LATE_S)
    first.join(LATE_S)
    assert not second.is_alive()
    assert not first.is_alive()


def test_closing_inside_a_call_leaves_the_freeing_to_the_last_call_out(gate: CallGate, freed: list[int]) -> None:
    gate.enter()
    gate.enter()
    gate.close()
    gate.leave()
    assert freed == []
    gate.leave()
    assert len(freed) == 1


def test_a_free_that_fails_is_said_to_its_closer_and_not_tried_again() -> None:
    tries = []

    def free() -> None:
        tries.append(1)
        raise OSError("lost")

    gate = CallGate(free)
    with pytest.raises(OSError, match="lost"):
        gate.close()
    gate.close()
    assert len(tries) == 1


def test_nothing_is_freed_while_any_of_many_threads_is_inside() -> None:
    inside, seen = [0], []

    def free() -> None:
        seen.append(inside[0])

    gate = CallGate(free)
    lock = threading.Lock()

    def hammer(_: int) -> int:
        calls = 0
        while True:
            try:
                gate.enter()
            except SessionClosedError:
                return calls
            with lock:
                inside[0] += 1
            calls += 1
            with lock:
                inside[0] -= 1
            gate.leave()

    with ThreadPoolExecutor(8) as pool:
        counts = pool.map(hammer, range(8))
        threading.Event().wait(SOON_S)
        gate.close()
        assert seen == [0]
        assert sum(counts) > 0


def in_child(body: Callable[[], Any]) -> int:
    """Run `body` in a forked child; gives its exit status, or a signal where it hung."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(5)
        status = 1
        try:
            body()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_refused_and_its_close_touches_nothing(gate: CallGate, freed: list[int]) -> None:
    def child() -> None:
        with pytest.raises(ForkedError, match=rf"got a call in process {os.getpid()}, expected process {os.getppid()}"):
            gate.enter()
        gate.close()
        assert freed == []

    gate.enter()  # a call in flight, which the child never sees end
    assert in_child(child) == 0
    gate.leave()
    gate.close()
    assert len(freed) == 1


def test_a_handler_closes_while_the_gate_frees_and_does_not_wait_for_itself() -> None:
    tries: list[int] = []

    def free() -> None:
        tries.append(1)
        closing.close()

    closing = CallGate(free)
    closing.close()
    assert tries == [1]


def test_as_the_interpreter_ends_other_threads_are_waited_for_and_refused(gate: CallGate, freed: list[int]) -> None:
    inside, go_on, refused = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        gate.enter()
        inside.set()
        go_on.wait(LATE_S)
        gate.leave()
        try:
            gate.enter()
        except SessionClosedError:
            refused.set()

    caller = started(call)
    assert inside.wait(LATE_S)
    threading.Timer(SOON_S, go_on.set).start()
    gate.end(LATE_S)
    assert go_on.is_set()
    assert refused.wait(LATE_S)
    caller.join(LATE_S)
    gate.enter()  # the thread that ends the interpreter may go on, in other functions of atexit
    gate.leave()
    assert not gate.is_closing
    gate.close()
    assert len(freed) == 1


def test_a_call_that_hangs_does_not_hold_the_end_of_the_interpreter_up(gate: CallGate) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def call() -> None:
        gate.enter()
        inside.set()
        go_on.wait(LATE_S)
        gate.leave()

    caller = started(call)
    assert inside.wait(LATE_S)
    gate.end(0.01)
    go_on.set()
    caller.join(LATE_S)
    assert not caller.is_alive()
