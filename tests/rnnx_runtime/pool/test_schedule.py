import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rnnx_runtime.pool.fakes import frame

from rnnx_runtime.pool.requests import COMMITTED, Call, Push, Request, Seat
from rnnx_runtime.pool.schedule import Schedule

LOCK = threading.Lock()
NOW = 100.0


class Line:
    """A schedule with some seats, whose steps are taken by hand."""

    def __init__(self, seats: int) -> None:
        self.undone: list[Push] = []
        self.schedule = Schedule(self.undone.append)
        self.seats = [Seat(str(index), index, NOW) for index in range(seats)]

    def push(self, seat: int, deadline: float | None = None) -> Push:
        push = Push(self.seats[seat], LOCK, (frame(seat),))
        push.deadline = deadline
        self.schedule.add([push])
        return push

    def call(self, seat: int | None, function: Callable[[], Any]) -> Call:
        call = Call(None if seat is None else self.seats[seat], LOCK, function)
        self.schedule.add([call])
        return call

    def step(self, most: int, now: float = NOW) -> list[str]:
        """The names of the streams of a step that finishes what it runs."""
        batch = self.schedule.next_batch(most, now)
        self.schedule.advance(batch, [True] * len(batch), now)
        return [seat.name for push in batch if (seat := push.seat)]


def test_each_stream_takes_part_with_its_first_push() -> None:
    line = Line(3)
    first = [line.push(0), line.push(1), line.push(0)]
    assert line.schedule.next_batch(9, NOW) == first[:2]


def test_a_step_takes_as_many_as_it_may_and_the_rest_is_first_in_the_next() -> None:
    line = Line(3)
    for seat in (0, 1, 2, 0):
        line.push(seat)
    assert [line.step(2), line.step(2), line.step(2)] == [["0", "1"], ["2", "0"], []]


def test_a_chunk_that_is_not_over_stays_at_the_head_of_its_stream() -> None:
    line = Line(2)
    chunk = line.push(0)
    line.push(0)
    assert line.schedule.next_batch(9, NOW) == [chunk]
    line.schedule.advance([chunk], [False], NOW)
    assert line.schedule.next_batch(9, NOW) == [chunk]


@settings(deadline=None, database=None, derandomize=True, max_examples=100)
@given(streams=st.integers(1, 30), most=st.integers(1, 12), greedy=st.integers(0, 29))
def test_no_stream_starves(streams: int, most: int, greedy: int) -> None:
    """Whoever has work takes part in every ⌈S / n⌉-th step, though one stream pushes again and again."""
    line = Line(streams)
    bound = math.ceil(streams / most)
    for seat in range(streams):
        for _ in range(8):
            line.push(seat)
    last = dict.fromkeys(range(streams), 0)
    for step in range(1, 8 * bound):
        line.push(greedy % streams)
        for name in line.step(most):
            last[int(name)] = step
        waiting = [seat for seat in range(streams) if line.seats[seat].queue]
        assert all(step - last[seat] < bound for seat in waiting)


def test_a_call_runs_in_its_place_between_two_pushes_of_its_stream() -> None:
    line = Line(1)
    seen: list[str] = []
    line.push(0)
    call = line.call(0, lambda: seen.append("call"))
    line.push(0)
    assert line.step(9) == ["0"]
    assert not seen
    assert line.step(9) == ["0"]
    assert seen == ["call"]
    assert line.schedule.called == [call]


def test_a_call_of_no_stream_runs_as_it_comes() -> None:
    line = Line(1)
    seen: list[str] = []
    line.push(0)
    line.call(None, lambda: seen.append("call"))
    assert seen == ["call"]
    assert line.schedule.streams == 1


def test_a_late_push_is_passed_over_for_the_next_of_its_stream() -> None:
    line = Line(1)
    late, punctual = line.push(0, deadline=NOW), line.push(0, deadline=NOW + 1)
    assert line.schedule.next_batch(9, NOW) == [punctual]
    assert ([push for push, _ in line.schedule.refused], line.undone) == ([late], [])


def test_a_push_after_the_end_of_its_sequence_is_refused() -> None:
    line = Line(1)
    push = line.push(0)
    line.seats[0].is_over = True
    assert line.schedule.next_batch(9, NOW) == []
    ((refused, error),) = line.schedule.refused
    assert refused is push
    assert "flush() has ended" in str(error)


def test_a_chunk_that_is_late_in_the_middle_is_undone() -> None:
    line = Line(1)
    late = line.push(0, deadline=NOW)
    late.started = 2
    assert line.schedule.next_batch(9, NOW) == []
    assert ([push for push, _ in line.schedule.refused], line.undone) == ([late], [late])


def test_a_cancelled_push_is_passed_over_and_undone_where_it_had_begun() -> None:
    line = Line(2)
    whole, half = line.push(0), line.push(1)
    half.started = 1
    assert whole.cancel()
    assert half.cancel()
    assert line.schedule.next_batch(9, NOW) == []
    assert (line.schedule.dropped, line.undone) == ([whole, half], [half])
    assert line.schedule.streams == 0


def test_what_comes_after_a_streams_close_has_no_place() -> None:
    line = Line(1)
    seat = line.seats[0]
    line.call(0, lambda: setattr(seat, "is_closed", True))
    behind: list[Request] = [line.push(0), line.call(0, lambda: None)]
    assert line.schedule.next_batch(9, NOW) == []
    later = line.push(0)
    assert line.schedule.homeless == [*behind, later]
    assert (line.schedule.streams, len(seat.queue)) == (0, 0)


def test_a_new_schedule_takes_over_what_streams_have_queued() -> None:
    line = Line(3)
    pushes = [line.push(0), line.push(2)]
    taken = Schedule(line.undone.append)
    for seat in line.seats:
        taken.adopt(seat)
    assert taken.next_batch(9, NOW) == pushes


@pytest.mark.parametrize("phase", ["waiting", "committed"])
def test_a_stream_without_work_leaves_the_line_and_comes_back(phase: str) -> None:
    line = Line(1)
    push = line.push(0)
    if phase == "committed":
        push.phase = COMMITTED
        assert line.schedule.next_batch(9, NOW) == []
    else:
        assert line.step(9) == ["0"]
    assert line.schedule.streams == 0
    again = line.push(0)
    assert line.schedule.next_batch(9, NOW) == [again]


@pytest.mark.parametrize("how", ["run", "late", "cancelled"])
def test_a_stream_is_idle_from_the_end_of_its_last_push(how: str) -> None:
    line = Line(1)
    push = line.push(0, deadline=NOW + 5 if how == "late" else None)
    if how == "cancelled":
        push.cancel()
    assert line.step(9, now=NOW + 7) == (["0"] if how == "run" else [])
    assert line.seats[0].last_used == NOW + 7
