import threading
import time
from typing import Any

import numpy as np
import pytest
from tests.rnnx_runtime.pool.fakes import ManualClock, frame, in_threads

from rnnx_runtime import BackendError, DeadlineExceeded, PushCancelled
from rnnx_runtime.pool.delivery import deliver
from rnnx_runtime.pool.inbox import Inbox
from rnnx_runtime.pool.requests import COMMITTED, DROPPED, Call, Push, Seat, own_copy

ERROR = BackendError("a step", got="an error", expected="a result", remedy="report it")


@pytest.fixture
def lock() -> Any:
    """The pool's lock."""
    return Inbox(9).lock


def push_of(lock: Any) -> Push:
    return Push(Seat("a", 0, 0.0), lock, (frame(1),))


def give(push: Push, row: int = 0) -> None:
    """Settle a push with a row of a step's output."""
    push.block, push.row = [np.arange(6, dtype=np.float32).reshape(3, 2)], row
    push.phase = COMMITTED
    push.settle()


def test_an_output_is_memory_of_its_own(lock: Any) -> None:
    push = push_of(lock)
    give(push, 1)
    block = push.block
    assert block is not None
    y = push.result()
    block[0][:] = -1
    assert y.tolist() == [2, 3]
    assert push.block is None


def test_a_result_that_is_not_there_yet_can_be_asked_for_again(lock: Any) -> None:
    push = push_of(lock)
    with pytest.raises(TimeoutError, match=r"no output within 0.01 s; the push goes on"):
        push.result(timeout_s=0.01)
    give(push)
    assert push.result(timeout_s=0).tolist() == [0, 1]


def test_all_threads_that_wait_get_the_one_output(lock: Any) -> None:
    for _ in range(50):
        push = push_of(lock)
        asked = [push.result for _ in range(4)]
        results = in_threads([*asked, lambda push=push: give(push)])  # type: ignore[misc]
        assert [y.tolist() for y in results[:4]] == [[0, 1]] * 4


def test_an_output_that_another_thread_takes_at_the_same_time_is_there_for_both(lock: Any) -> None:
    class Raced(Push):
        """The other thread takes its copy and lets go of the block right after this one has seen it."""

        looks = 0

        @property
        def block(self) -> Any:
            self.looks += 1
            if self.looks == 1:
                return [np.zeros((1, 2), np.float32)]
            self.y = [np.zeros(2, np.float32)]
            return None

        @block.setter
        def block(self, value: Any) -> None:
            assert value is None

    push = Raced(Seat("a", 0, 0.0), lock, (frame(1),))
    push.settle()
    assert push.result().tolist() == [0, 0]
    assert push.result().tolist() == [0, 0]


def test_a_cancelled_push_raises_for_all_who_wait(lock: Any) -> None:
    push = push_of(lock)
    assert push.cancel()
    assert push.is_done
    for _ in range(2):
        with pytest.raises(PushCancelled):
            push.result()
    assert not push.cancel()


def test_a_push_whose_effect_is_certain_cannot_be_cancelled(lock: Any) -> None:
    push = push_of(lock)
    push.phase = COMMITTED
    assert not push.cancel()
    give(push)
    assert push.result().tolist() == [0, 1]


def test_a_push_is_late_when_its_own_deadline_is_over(lock: Any) -> None:
    clock = ManualClock()
    push = push_of(lock)
    push.clock, push.timeout_s, push.deadline = clock, 2.0, clock.now + 2.0
    clock.advance(2.0)
    with pytest.raises(DeadlineExceeded, match=r"no step within 2.0 s"):
        push.result()
    assert push.phase == DROPPED


def test_the_shorter_of_two_waits_decides(lock: Any) -> None:
    push = push_of(lock)
    push.timeout_s, push.deadline = 60.0, time.monotonic() + 60.0
    with pytest.raises(TimeoutError):
        push.result(timeout_s=0.01)
    give(push)
    assert push.result(timeout_s=1e30).tolist() == [0, 1]


def test_a_push_in_its_last_frames_at_its_deadline_is_waited_for(lock: Any) -> None:
    clock = ManualClock()
    push = push_of(lock)
    push.clock, push.timeout_s, push.deadline = clock, 0.0, clock.now
    push.phase = COMMITTED
    timer = threading.Timer(0.02, push.settle)
    push.y = [np.ones(2, np.float32)]
    timer.start()
    assert push.result().tolist() == [1, 1]
    timer.join()


@pytest.mark.parametrize("timeout_s", [float("inf"), 1e300, -1.0], ids=["endless", "ages", "negative"])
def test_any_number_of_seconds_can_be_waited(lock: Any, timeout_s: float) -> None:
    push = push_of(lock)
    give_soon = threading.Timer(0.2, give, (push,))
    give_soon.start()
    assert push.wait(timeout_s) is (timeout_s > 0)
    give_soon.join()


def test_chunks_are_put_together_from_their_steps(lock: Any) -> None:
    push = push_of(lock)
    push.frames = 3
    push.names = ("y", "last")
    for count, value in ((1, 1), (2, 5)):
        push.take([np.full((count, 2), value, np.float32), np.full((1, 4), value)], count, (True, False))
    push.settle()
    assert push.started == 3
    assert push.result()["y"].tolist() == [[1, 1], [5, 5], [5, 5]]
    assert push.result()["last"].tolist() == [5, 5, 5, 5]


def test_a_call_gives_what_its_function_gave_or_raised(lock: Any) -> None:
    good, bad = Call(None, lock, lambda: 7), Call(None, lock, lambda: 1 // 0)
    assert good.run()
    assert bad.run()
    deliver([good, bad])
    assert good.outcome() == 7
    with pytest.raises(ZeroDivisionError):
        bad.outcome()


def test_a_dropped_call_is_not_called(lock: Any) -> None:
    called: list[int] = []
    call = Call(None, lock, lambda: called.append(1))
    assert call.fail(ERROR)
    assert not call.run()
    assert not called


def test_a_copy_of_an_error_is_the_same_and_names_its_cause() -> None:
    again = own_copy(ERROR)
    assert again is not ERROR
    assert (type(again), str(again), again.remedy) == (BackendError, str(ERROR), "report it")
    assert again.__cause__ is ERROR
