"""Values of a whole model made comparable: masks of infinities or of huge numbers must not decide a limit."""

import numpy as np

from rnnx_runtime.array_type import Array

HUGE = 1e4
"""A value beyond this is compared by its relative error: a mask of -1e9 would allow all others an error of 1e2."""


def comparable(value: Array, truth: Array) -> Array:
    """`value` on the scale of `truth`: infinities that the truth has too are 0, and huge ones are shares of the truth.

    Both have one shape; `comparable(truth, truth)` is the truth on that scale. Integers stay as they are.
    """
    if value.shape != truth.shape or value.dtype.kind != "f" or truth.dtype.kind != "f":
        return value
    if not truth.size or float(np.abs(truth).max()) <= HUGE:  # not so with a NaN
        return value
    with np.errstate(invalid="ignore", over="ignore"):
        result = np.where(np.isinf(truth) & (value == truth), 0, value)
        large = np.isfinite(truth) & (np.abs(truth) > HUGE)
        scaled = result / np.where(large, np.abs(truth), 1)
    return scaled.astype(value.dtype)


def largest_apart(value: Array, truth: Array) -> float:
    """The largest difference on the scale of `truth`; 0 of integers that are equal."""
    apart = np.abs(comparable(value.astype(np.float64), truth) - comparable(truth, truth).astype(np.float64))
    return float(apart.max())
