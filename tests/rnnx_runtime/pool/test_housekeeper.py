import logging
import threading
from functools import partial

import pytest
from tests.rnnx_runtime.pool.fakes import PATIENCE_S

from rnnx_runtime.pool.housekeeper import Housekeeper


def test_it_watches_several_times_within_the_timeout() -> None:
    seen = threading.Semaphore(0)
    keeper = Housekeeper(seen.release, 0.02)
    keeper.start()
    assert all(seen.acquire(timeout=PATIENCE_S) for _ in range(4))
    keeper.close()


def test_it_does_what_it_was_given_in_order_and_all_of_it_before_it_ends() -> None:
    done: list[int] = []
    keeper = Housekeeper(lambda: None, 100.0)
    for number in range(5):
        keeper.call_soon(partial(done.append, number))
    keeper.start()
    keeper.close()
    assert done == [0, 1, 2, 3, 4]


def test_a_function_that_raises_is_logged_and_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()
    keeper = Housekeeper(lambda: None, 100.0)
    keeper.start()
    keeper.call_soon(lambda: 1 // 0)
    keeper.call_soon(done.set)
    assert done.wait(PATIENCE_S)
    keeper.close()
    assert [(record.name, record.levelno) for record in caplog.records] == [("rnnx_runtime.pool", logging.ERROR)]
    assert "ZeroDivisionError" in caplog.text


def test_it_can_be_ended_by_a_task_of_its_own() -> None:
    keeper = Housekeeper(lambda: None, 100.0)
    keeper.start()
    keeper.call_soon(keeper.close)
    assert keeper._ended.wait(PATIENCE_S)


def test_a_task_that_hangs_is_waited_for_as_long_as_a_step() -> None:
    go_on = threading.Event()
    keeper = Housekeeper(lambda: None, 0.02)
    keeper.start()
    keeper.call_soon(go_on.wait)
    keeper.close()
    assert not keeper._ended.is_set
    go_on.set()
    assert keeper._ended.wait(PATIENCE_S)
