"""The number at which an error is least: a coarse walk over either sign, then golden sections."""

from collections.abc import Callable

import numpy as np

from rnnx_runtime.array_type import Array

_GOLDEN = (5**0.5 - 1) / 2


def least_at(error: Callable[[float], float], sizes: Array) -> float:
    """Where an error is least among `sizes`, which rise, their negatives, and what lies between neighbours."""
    starts = np.concatenate([-sizes[::-1], sizes])
    errors = [error(float(start)) for start in starts]
    at = int(np.argmin(errors))
    return narrowed(error, float(starts[max(at - 1, 0)]), float(starts[min(at + 1, len(starts) - 1)]))


def narrowed(error: Callable[[float], float], low: float, high: float) -> float:
    """Golden-section search for the smallest error between two bounds."""
    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    error_a, error_b = error(a), error(b)
    least = 1e-9 * max(abs(low), abs(high))
    while high - low > least:
        if error_a <= error_b:
            high, b, error_b = b, a, error_a
            a = high - _GOLDEN * (high - low)
            error_a = error(a)
        else:
            low, a, error_a = a, b, error_b
            b = low + _GOLDEN * (high - low)
            error_b = error(b)
    return float(np.float32((low + high) / 2))
