from collections.abc import Callable, Iterator

import pytest

from rnnx.timing.warm_up import WINDOWS, warm_up


def _measure(times: Iterator[float]) -> Callable[[], float]:
    return lambda: next(times)


def _then(first: list[float], last: float) -> Iterator[float]:
    yield from first
    while True:
        yield last


def test_a_steady_call_is_warm_after_the_fewest_windows() -> None:
    warmed = warm_up(_measure(_then([], 20.0)), bound_ms=1000)
    assert (warmed.calls, warmed.stable, warmed.typical_ms) == (WINDOWS, True, 20.0)


def test_short_calls_share_a_window() -> None:
    assert warm_up(_measure(_then([], 2.0)), bound_ms=1000).calls == WINDOWS * 5


def test_warming_goes_on_until_the_time_settles() -> None:
    warmed = warm_up(_measure(_then([50.0, 40.0, 30.0], 20.0)), bound_ms=1000)
    assert (warmed.calls, warmed.stable, warmed.typical_ms) == (3 + WINDOWS, True, 20.0)


def test_a_slow_trend_is_not_stable_however_close_the_windows() -> None:
    falling = iter([100.0 * 0.99**i for i in range(1000)])
    assert not warm_up(_measure(falling), bound_ms=800).stable


def test_a_rising_trend_is_not_stable_either() -> None:
    rising = iter([100.0 * 1.01**i for i in range(1000)])
    assert not warm_up(_measure(rising), bound_ms=800).stable


def test_windows_that_differ_too_much_are_not_stable() -> None:
    assert not warm_up(_measure(iter([20.0, 22.0] * 500)), bound_ms=500).stable


def test_a_single_slow_call_within_a_window_is_no_trouble() -> None:
    times = iter([2.0, 2.0, 2.0, 2.0, 9.0] * 100)
    assert warm_up(_measure(times), bound_ms=1000).stable


@pytest.mark.parametrize("bound_ms", [500.0, 1000.0])
def test_the_bound_ends_a_warm_up_that_does_not_settle(bound_ms: float) -> None:
    warmed = warm_up(_measure(iter([20.0, 30.0] * 1000)), bound_ms=bound_ms)
    assert not warmed.stable
    assert warmed.calls == pytest.approx(bound_ms / 25, abs=1)


def test_a_bound_shorter_than_the_windows_still_fills_them() -> None:
    assert warm_up(_measure(_then([], 500.0)), bound_ms=1.0).calls == WINDOWS


def test_a_clock_too_coarse_to_see_a_call_does_not_hang() -> None:
    assert warm_up(lambda: 0.0, bound_ms=1.0).typical_ms == 0.0
