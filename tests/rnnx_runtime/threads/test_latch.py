import signal
import threading
import time
from typing import Any

import pytest

from rnnx_runtime.threads.latch import Latch, new_bell, ring, wait_for

LATE_S = 20.0


def test_everybody_who_waits_goes_on_when_it_is_set_and_nobody_waits_afterwards() -> None:
    latch, gone = Latch(), list[bool]()
    waiting = [threading.Thread(target=lambda: gone.append(latch.wait(LATE_S))) for _ in range(4)]
    for thread in waiting:
        thread.start()
    while len(latch._bells) < 4:
        time.sleep(0.001)
    assert not latch.is_set
    latch.set()
    for thread in waiting:
        thread.join(LATE_S)
    assert gone == [True] * 4
    assert latch.wait(0)
    assert not latch._bells


@pytest.mark.parametrize("timeout_s", [0.0, 0.01, -1.0])
def test_a_wait_ends_with_its_time_and_leaves_nothing_behind(timeout_s: float) -> None:
    latch = Latch()
    assert not latch.wait(timeout_s)
    assert not latch._bells


def test_a_latch_that_is_set_between_the_look_and_the_wait_is_not_missed() -> None:
    latch = Latch()

    class SetMeanwhile(Latch):
        __slots__ = ()

    latch = SetMeanwhile()
    bells = latch._bells

    class Bells(type(bells)):  # type: ignore[misc]
        def append(self, bell: Any) -> None:
            latch.set()
            super().append(bell)

    latch._bells = Bells()
    assert latch.wait(LATE_S)


def test_a_handler_that_raises_ends_the_wait_and_another_waits_in_the_handler() -> None:
    latch, other = Latch(), Latch()

    def handler(*_: object) -> None:
        assert not latch.wait(0.01)
        other.set()
        raise KeyError

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyError):
            latch.wait(LATE_S)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert other.is_set
    assert not latch._bells


def test_a_bell_can_be_rung_twice_and_waited_for_once() -> None:
    bell = new_bell()
    ring(bell)
    ring(bell)
    assert wait_for(bell, LATE_S)
    assert not wait_for(bell, 0.0)
    assert not wait_for(bell, -1.0)
