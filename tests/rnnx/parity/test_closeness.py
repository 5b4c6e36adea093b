import numpy as np
import pytest

from rnnx.parity.closeness import RELATIVE_FLOOR, closeness, problem_of
from rnnx_runtime import TensorSpec

SPEC = TensorSpec(name="hn", dtype="float32", dims=("B", 3))


def test_every_figure_is_what_its_name_says() -> None:
    truth = np.array([[1.0, 2.0, 4.0]])
    found = closeness(np.array([[1.0, 2.5, 3.0]], np.float32), truth)
    assert found.max_error == 1.0
    assert found.mean_error == pytest.approx(0.5)
    assert found.p99_error == pytest.approx(0.99)
    assert found.max_relative_error == pytest.approx(0.25)
    assert found.cosine == pytest.approx(18 / np.sqrt(21 * 16.25))
    assert found.size == 3


def test_a_relative_error_near_zero_is_of_the_floor() -> None:
    found = closeness(np.full((1, 3), 1e-6, np.float32), np.zeros((1, 3)))
    assert found.max_relative_error == pytest.approx(1e-6 / RELATIVE_FLOOR)


@pytest.mark.parametrize(("value", "cosine"), [(0.0, 1.0), (1.0, 0.0)], ids=["both-zero", "one-zero"])
def test_a_cosine_of_zeros_is_defined(value: float, cosine: float) -> None:
    assert closeness(np.full((1, 3), value, np.float32), np.zeros((1, 3))).cosine == cosine


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (np.zeros((2, 3), np.float32), ""),
        (None, "no such output"),
        (np.zeros((2, 3)), "got float64 (2, 3), expected float32 (2, 3)"),
        (np.zeros((3, 2), np.float32), "got float32 (3, 2), expected float32 (2, 3)"),
        (np.array([[1, np.nan, 2], [np.inf, 1, 2]], np.float32), "2 of 6 values are NaN or Inf"),
    ],
    ids=["fine", "missing", "dtype", "shape", "not-finite"],
)
def test_what_is_no_result_is_named(value: object, problem: str) -> None:
    assert problem_of(value, np.zeros((2, 3)), SPEC) == problem
