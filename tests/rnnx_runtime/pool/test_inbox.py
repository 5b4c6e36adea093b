import threading
import time

import pytest
from tests.rnnx_runtime.pool.fakes import frame, in_threads, wait_until

from rnnx_runtime import PoolClosedError, PoolOverloaded
from rnnx_runtime.pool.inbox import Inbox
from rnnx_runtime.pool.requests import Call, Push, Seat
from rnnx_runtime.threads.latch import new_bell

LONG_S = 20.0


def push(inbox: Inbox) -> Push:
    return Push(Seat("a", 0, 0.0), inbox.lock, (frame(1),))


def call(inbox: Inbox, *, is_certain: bool = False) -> Call:
    return Call(None, inbox.lock, lambda: None, is_certain=is_certain)


def closed() -> PoolClosedError:
    return PoolClosedError("pool", got="a request after close", expected="an open pool", remedy="make a new pool")


def test_one_push_more_than_may_wait_is_refused_and_counted() -> None:
    inbox = Inbox(2)
    inbox.put_push(push(inbox))
    inbox.put_push(push(inbox))
    with pytest.raises(PoolOverloaded, match=r"2 pushes waiting, expected fewer than 2 \(PoolOptions.max_queue\)"):
        inbox.put_push(push(inbox))
    assert (inbox.pushes, inbox.refused, len(inbox.take_all())) == (2, 1, 2)


def test_taking_pushes_does_not_make_room_before_they_are_settled() -> None:
    inbox = Inbox(1)
    inbox.put_push(push(inbox))
    inbox.take_all()
    with pytest.raises(PoolOverloaded):
        inbox.put_push(push(inbox))
    inbox.pushes -= 1
    inbox.put_push(push(inbox))


def test_what_comes_out_is_what_came_in_in_that_order() -> None:
    inbox = Inbox(9)
    asked = [push(inbox), call(inbox), push(inbox)]
    inbox.put_push(asked[0])
    inbox.put_call(asked[1])  # type: ignore[arg-type]
    inbox.put_push(asked[2])
    assert list(inbox.take_all()) == asked
    assert inbox.is_empty()


def test_a_refusal_is_an_error_of_each_callers_own() -> None:
    inbox = Inbox(9)
    inbox.refusal = closed()
    with pytest.raises(PoolClosedError) as one:
        inbox.put_push(push(inbox))
    with pytest.raises(PoolClosedError) as two:
        inbox.put_call(call(inbox))
    assert one.value is not two.value
    assert str(one.value) == str(two.value) == str(closed())
    assert inbox.is_empty()


def test_a_call_that_must_happen_is_taken_whatever_is_refused() -> None:
    inbox = Inbox(9)
    inbox.refusal = closed()
    inbox.put_call(call(inbox, is_certain=True))
    assert len(inbox.take_all()) == 1


def waiting(inbox: Inbox, count: int, timeout_s: float | None = LONG_S) -> threading.Thread:
    """A reader that waits for so many."""
    thread = threading.Thread(target=inbox.wait, args=(count, timeout_s), daemon=True)
    thread.start()
    wait_until(lambda: inbox._wakes_at == count, "the reader waits")
    return thread


def test_the_reader_wakes_at_as_many_pushes_as_it_waits_for() -> None:
    inbox = Inbox(9)
    reader = waiting(inbox, 3)
    inbox.put_push(push(inbox))
    inbox.put_push(push(inbox))
    assert inbox._wakes_at == 3
    inbox.put_push(push(inbox))
    reader.join(LONG_S)
    assert not reader.is_alive()


@pytest.mark.parametrize("wake", ["call", "ring"])
def test_the_reader_wakes_at_once_for(wake: str) -> None:
    inbox = Inbox(9)
    reader = waiting(inbox, 3, None)
    if wake == "call":
        inbox.put_call(call(inbox))
    else:
        inbox.ring()
    reader.join(LONG_S)
    assert not reader.is_alive()


def test_the_reader_does_not_wait_for_what_is_there() -> None:
    inbox = Inbox(9)
    inbox.put_push(push(inbox))
    inbox.wait(1, None)
    assert len(inbox.take_all()) == 1


def test_a_wait_ends_with_its_time() -> None:
    inbox = Inbox(9)
    start = time.monotonic()
    inbox.wait(1, 0.01)
    inbox.wait(1, -5.0)
    assert 0.009 < time.monotonic() - start < LONG_S
    assert inbox._wakes_at == 0


def test_pushes_that_come_as_a_wait_runs_out_ring_no_later_wait() -> None:
    """Thousands of waits end at about the time of a push: a bell rung twice would raise, one left rung end the last."""
    inbox = Inbox(10**6)
    stop = threading.Event()

    def read() -> None:
        for turn in range(3000):
            inbox.wait(1 + turn % 3, 2e-6 * (turn % 60))
            inbox.take_all()
        stop.set()

    def write() -> None:
        while not stop.is_set():
            inbox.put_push(push(inbox))
            time.sleep(1e-5)  # about as long as a wait, so that their ends meet

    in_threads([read, write])
    inbox.take_all()
    start = time.monotonic()
    inbox.wait(1, 0.02)
    assert time.monotonic() - start > 0.015


def test_a_caller_stands_back_only_for_a_reader_that_has_plenty_and_wants_the_interpreter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inbox, given = Inbox(9, plenty=2), list[int]()
    monkeypatch.setattr(inbox.right_of_way, "give", lambda: given.append(inbox.pushes))

    def put(queued_at: float) -> None:
        asked = push(inbox)
        asked.queued_at = queued_at
        inbox.put_push(asked)

    inbox.right_of_way.wanted_from = 5.0
    put(6.0)
    put(6.0)
    assert given == []  # not plenty yet
    put(4.0)
    assert given == []  # the reader's step is not over yet
    put(6.0)
    assert given == [4]


def test_a_full_inbox_refuses_before_a_push_is_made_and_lets_the_reader_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inbox, given = Inbox(1), list[int]()
    monkeypatch.setattr(inbox.right_of_way, "give", lambda: given.append(1))
    inbox.refuse_if_full(0.0)  # there is room
    inbox.put_push(push(inbox))
    inbox.right_of_way.wanted_from = 5.0
    for now in (4.0, 6.0):
        with pytest.raises(PoolOverloaded, match="1 pushes waiting"):
            inbox.refuse_if_full(now)
    assert (len(given), inbox.refused, inbox.pushes) == (1, 2, 1)
    inbox.refusal = closed()
    with pytest.raises(PoolClosedError):
        inbox.refuse_if_full(6.0)


def test_a_reader_that_gave_way_to_another_takes_nothing_and_does_not_wait() -> None:
    inbox = Inbox(9)
    old, inbox.bell = inbox.bell, new_bell()
    inbox.put_push(push(inbox))
    assert inbox.take_all(old) == []
    inbox.wait(5, None, old)
    assert len(inbox.take_all(inbox.bell)) == 1
