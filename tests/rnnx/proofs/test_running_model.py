import numpy as np
import pytest

from rnnx.proofs.running_model import alike

HUGE = [-1e9, np.inf, -np.inf]


@pytest.mark.parametrize("mask", HUGE)
def test_a_mask_of_huge_values_hides_no_difference(mask: float) -> None:
    truth = np.array([0.25, -0.5, mask])
    assert alike(truth.copy(), truth)
    assert not alike(np.array([0.25, -0.2, mask]), truth)


def test_rounding_is_no_difference_and_another_shape_is_one() -> None:
    truth = np.array([0.25, -0.5, np.nan])
    assert alike(truth + 1e-14, truth)
    assert not alike(truth + 1e-6, truth)
    assert not alike(truth[:2], truth)
    assert not alike(np.array([1, 3]), np.array([1, 2]))
