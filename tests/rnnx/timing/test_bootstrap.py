import numpy as np
import pytest

from rnnx.timing.bootstrap import inverted, median_estimate, quantile_estimates
from rnnx.timing.figures import Estimate


def test_the_value_is_the_quantile_of_all_calls() -> None:
    times = np.arange(1, 101, dtype=float).reshape(10, 10)
    p50, p90 = quantile_estimates(times, (0.5, 0.9))
    assert (p50.value, p90.value) == pytest.approx((50.5, 90.1))


def test_the_interval_holds_the_value() -> None:
    times = np.random.default_rng(0).exponential(size=(8, 5))
    for estimate in quantile_estimates(times, (0.01, 0.5, 0.99)):
        assert estimate.low <= estimate.value <= estimate.high


def test_the_same_times_give_the_same_interval() -> None:
    times = np.random.default_rng(1).normal(10, 1, (10, 20))
    assert quantile_estimates(times, (0.5,)) == quantile_estimates(times, (0.5,))
    assert quantile_estimates(times, (0.5,), seed=1) != quantile_estimates(times, (0.5,), seed=2)


def test_whole_rounds_are_resampled_so_that_a_disturbed_round_widens_the_interval() -> None:
    chance = np.random.default_rng(2)
    calm = chance.normal(10, 0.1, (10, 50))
    by_round = calm + chance.normal(0, 1, (10, 1))
    shuffled = chance.permutation(by_round.ravel()).reshape(10, 50)
    width = {name: _width(times) for name, times in {"rounds": by_round, "shuffled": shuffled}.items()}
    assert width["rounds"] > 2 * width["shuffled"]


def _width(times: "np.ndarray[tuple[int, int], np.dtype[np.float64]]") -> float:
    estimate = quantile_estimates(times, (0.5,))[0]
    return estimate.high - estimate.low


def test_the_true_median_lies_in_about_95_percent_of_intervals() -> None:
    chance = np.random.default_rng(3)
    held = 0
    for seed in range(60):
        times = chance.normal(10, 0.5, (20, 1)) + chance.normal(0, 0.5, (20, 4))
        estimate = quantile_estimates(times, (0.5,), seed=seed)[0]
        held += estimate.low <= 10 <= estimate.high
    assert held >= 53


def test_a_median_of_one_figure_a_round() -> None:
    estimate = median_estimate([1.0, 2.0, 3.0, 4.0, 100.0])
    assert estimate.value == 3.0
    assert 1.0 <= estimate.low < 3.0 < estimate.high <= 100.0


def test_inverting_swaps_the_ends() -> None:
    assert inverted(Estimate(value=2.0, low=1.0, high=4.0), 8.0) == Estimate(value=4.0, low=2.0, high=8.0)
