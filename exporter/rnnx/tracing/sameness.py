"""Whether values in float64 are the same but for rounding, and what a model said that gave none."""

import numpy as np

from rnnx.truths.comparable import comparable
from rnnx_runtime.array_type import Array

CLOSE = 1e-9
"""The share of the largest value that float64 may differ by; another order of sums does so by some 1e-14."""


def alike(value: Array, truth: Array) -> bool:
    """Whether shapes are equal and values too, but for rounding; NaN is equal to NaN."""
    if value.shape != truth.shape:
        return False
    if truth.dtype.kind != "f":
        return bool(np.array_equal(value, truth))
    scaled, expected = comparable(value, truth), comparable(truth, truth)  # a mask of -1e9 must not hide the others
    scale = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0)))
    return bool(np.allclose(scaled, expected, rtol=0, atol=CLOSE * scale, equal_nan=True))


def raised(what: str, error: Exception) -> str:
    """What PyTorch raised for a trial, in one line."""
    return " ".join(f"PyTorch raises for {what}: {type(error).__name__}: {error}".split())[:200]
