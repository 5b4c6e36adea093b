import threading
import time
from math import inf

import pytest
from tests.rnnx_runtime.pool.fakes import wait_until

from rnnx_runtime.pool import right_of_way
from rnnx_runtime.pool.right_of_way import RightOfWay


def give_in_a_thread(way: RightOfWay) -> threading.Thread:
    thread = threading.Thread(target=way.give)
    thread.start()
    return thread


def test_nobody_stands_back_for_a_pool_that_waits() -> None:
    assert RightOfWay().wanted_from == inf


def test_a_caller_stands_back_until_the_pool_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(right_of_way, "LONGEST_S", 20.0)
    way = RightOfWay()
    way.wanted_from = 0.0
    caller = give_in_a_thread(way)
    time.sleep(0.02)
    assert caller.is_alive()
    way.pass_on(5.0)
    caller.join(10)
    assert (caller.is_alive(), way.wanted_from) == (False, 5.0)


def test_a_caller_goes_on_by_itself_when_the_pool_does_not() -> None:
    way = RightOfWay()
    way.give()
    way.give()  # and nothing is left behind that a second call would wait for


def test_a_second_caller_does_not_wait_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(right_of_way, "LONGEST_S", 20.0)
    way = RightOfWay()
    first = give_in_a_thread(way)
    wait_until(lambda: way._is_given, "the first stands back")
    start = time.monotonic()
    way.give()
    assert time.monotonic() - start < 10
    assert first.is_alive()
    way.pass_on(inf)
    first.join(10)
    assert not first.is_alive()


def test_passing_on_with_nobody_there_leaves_the_next_caller_waiting() -> None:
    way = RightOfWay()
    way.pass_on(inf)
    way.pass_on(inf)
    assert way._turn.locked()
