import numpy as np
import pytest

from rnnx_runtime.pool.metrics import BATCH_BOUNDS, LATENCY_BOUNDS_S, Counters, Histogram


@pytest.mark.parametrize("count", [5, 12, 13, 500], ids=lambda count: f"{count}-values")
def test_a_batch_of_values_counts_as_each_of_them_alone(count: int) -> None:
    values = [*np.random.default_rng(count).exponential(0.01, count - 2).tolist(), LATENCY_BOUNDS_S[3], 1e9]
    together, alone = Histogram(LATENCY_BOUNDS_S), Histogram(LATENCY_BOUNDS_S)
    together.observe_all(values)
    for value in values:
        alone.observe(value)
    assert together.snapshot().counts == alone.snapshot().counts
    assert together.snapshot().total == pytest.approx(sum(values))
    assert together.snapshot().count == count


def test_a_bound_is_within_its_own_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe_all([1.0, 2.0, 2.5])
    assert histogram.snapshot().counts == (1, 1, 1)


def test_a_snapshot_does_not_change_any_more() -> None:
    histogram = Histogram(BATCH_BOUNDS)
    before = histogram.snapshot()
    histogram.observe(3)
    assert (before.count, histogram.snapshot().count) == (0, 1)


def test_a_quantile_is_the_bound_that_so_many_values_do_not_exceed() -> None:
    histogram = Histogram((1.0, 10.0, 100.0))
    histogram.observe_all([0.5] * 50 + [5.0] * 49 + [1000.0])
    found = histogram.snapshot()
    assert [found.quantile(share) for share in (0.5, 0.51, 0.99, 1.0)] == [1.0, 10.0, 10.0, float("inf")]


def test_the_mean_is_exact_and_zero_without_values() -> None:
    histogram = Histogram((1.0,))
    assert histogram.snapshot().mean == 0
    histogram.observe_all([1.0, 4.0])
    assert histogram.snapshot().mean == 2.5


def test_a_snapshot_names_every_reason_of_a_rejection() -> None:
    counters = Counters()
    counters.rejections["late"] += 2
    found = counters.snapshot(streams=1, capacity=2, queue_depth=3, overloaded=4)
    assert found.rejections == {"overloaded": 4, "late": 2, "cancelled": 0, "failed": 0, "closed": 0}
    assert (found.streams, found.capacity, found.queue_depth) == (1, 2, 3)
