import _thread
import threading
from threading import Event

import pytest

from rnnx.engines.interruption import run_interruptibly


def test_work_runs_in_a_thread_of_its_own_and_gives_its_result() -> None:
    assert run_interruptibly(lambda: threading.current_thread().name, Event()) == "rnnx build"


def test_the_works_exception_is_the_calls() -> None:
    def fail() -> None:
        raise ValueError("from the work")

    cancelled = Event()
    with pytest.raises(ValueError, match="from the work"):
        run_interruptibly(fail, cancelled)
    assert not cancelled.is_set()


def test_an_interrupt_sets_the_flag_and_does_not_wait_for_the_work() -> None:
    cancelled, may_end, ended = Event(), Event(), Event()

    def work() -> None:
        _thread.interrupt_main()
        assert cancelled.wait(10)
        may_end.wait(10)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        run_interruptibly(work, cancelled)
    assert not ended.is_set()
    may_end.set()
    assert ended.wait(10)
