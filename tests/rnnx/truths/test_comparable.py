"""Masks in a whole model's outputs: infinities and huge numbers decide no limit."""

import numpy as np
import pytest

from rnnx.truths.comparable import comparable

INF = float("inf")


@pytest.mark.parametrize(
    ("value", "truth", "expected"),
    [
        pytest.param([1.5, -2.0], [1.0, -2.0], [1.5, -2.0], id="as-it-is"),
        pytest.param([-INF, 1.0], [-INF, 1.0], [0.0, 1.0], id="the-same-infinity"),
        pytest.param([INF, 1.0], [-INF, 1.0], [INF, 1.0], id="another-infinity"),
        pytest.param([3.0, 1.0], [-INF, 1.0], [3.0, 1.0], id="a-number-for-an-infinity"),
        pytest.param([-2e9, 1.0], [-1e9, 1.0], [-2.0, 1.0], id="a-share-of-a-huge-one"),
        pytest.param([1e9, 1.0], [0.0, 1.0], [1e9, 1.0], id="huge-where-the-truth-is-not"),
    ],
)
def test_values_are_on_the_scale_of_the_truth(value: list[float], truth: list[float], expected: list[float]) -> None:
    result = comparable(np.array(value, np.float32), np.array(truth))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected)


def test_nan_stays_nan() -> None:
    assert np.isnan(comparable(np.array([np.nan]), np.array([-INF]))).all()


def test_integers_and_other_shapes_stay_as_they_are() -> None:
    labels = np.array([10**9, 3])
    assert comparable(labels, labels) is labels
    short = np.array([1.0])
    assert comparable(short, np.array([1.0, 2.0])) is short
