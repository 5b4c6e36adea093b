import pytest

from rnnx_runtime.pool import PoolOptions
from rnnx_runtime.pool.waiting import SHORTEST_S, Waiting

LIMIT_S = 1e-3


def waiting_of(*, adaptive: bool = True, max_wait_us: float = 1000.0) -> Waiting:
    return Waiting(PoolOptions(adaptive=adaptive, max_wait_us=max_wait_us))


def arrive(waiting: Waiting, gap_s: float, count: int = 50) -> None:
    """Pushes that come at a steady gap for long enough to be believed."""
    for turn in range(100):
        start = turn * count * gap_s
        waiting.saw_arrivals(count, start, start + (count - 1) * gap_s)


def test_without_adaption_the_whole_wait_is_used_up() -> None:
    waiting = waiting_of(adaptive=False)
    assert waiting.slice_s(1, 8, 0.0) == LIMIT_S
    assert waiting.slice_s(1, 8, 0.0004) == pytest.approx(0.0006)
    assert waiting.slice_s(1, 8, 0.002) == 0


def test_no_wait_is_allowed_where_none_is_wanted() -> None:
    assert waiting_of(max_wait_us=0).slice_s(1, 8, 0.0) == 0


def test_a_lone_slow_stream_is_not_kept_waiting() -> None:
    waiting = waiting_of()
    arrive(waiting, 0.01)
    waiting.saw_step(1, 100e-6)
    assert waiting.slice_s(1, 8, 0.0) == 0


def test_while_pushes_come_faster_than_a_row_runs_it_waits_for_them() -> None:
    waiting = waiting_of()
    arrive(waiting, 2e-6)
    waiting.saw_step(1, 100e-6)
    waiting.saw_step(8, 160e-6)
    assert 0 < waiting.slice_s(1, 64, 0.0) <= LIMIT_S


def test_it_waits_for_no_more_rows_than_pay() -> None:
    """At a gap of 15 µs a batch of 16 rows of 10 µs each keeps up, one of 8 rows of 20 µs does not."""
    waiting = waiting_of()
    arrive(waiting, 15e-6)
    for rows, seconds in ((1, 100e-6), (8, 160e-6), (16, 160e-6), (32, 250e-6)):
        waiting.saw_step(rows, seconds)
    assert waiting.slice_s(15, 64, 0.0) > 0
    assert waiting.slice_s(16, 64, 0.0) == 0


def test_when_nothing_comes_any_more_it_stops_to_wait() -> None:
    waiting = waiting_of()
    arrive(waiting, 2e-6)
    waiting.saw_step(1, 100e-6)
    for _ in range(100):
        waiting.saw_nothing(LIMIT_S)
    assert waiting.slice_s(1, 8, 0.0) == 0


@pytest.mark.parametrize("waited_s", [-3600.0, -1e-9, 0.0, 0.0009])
@pytest.mark.parametrize("adaptive", [True, False], ids=["adaptive", "fixed"])
def test_a_wait_is_never_longer_than_the_limit_even_if_the_clock_is_set_back(waited_s: float, adaptive: bool) -> None:
    waiting = waiting_of(adaptive=adaptive)
    arrive(waiting, 2e-6)
    waiting.saw_step(64, 1.0)
    assert 0 <= waiting.slice_s(0, 64, waited_s) <= LIMIT_S


def test_a_gap_below_zero_of_a_clock_set_back_counts_as_none() -> None:
    waiting = waiting_of()
    waiting.saw_arrivals(2, 5.0, 3.0)
    waiting.saw_step(1, 1e-3)
    assert waiting.slice_s(1, 2, 0.0) == SHORTEST_S
