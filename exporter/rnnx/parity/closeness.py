"""How close a backend's values are to the truth, in every figure that a report gives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import TensorSpec

RELATIVE_FLOOR = 1e-3
"""Values smaller than this count as this in a relative error: near zero a rounding is many times the value."""


@dataclass(frozen=True, kw_only=True)
class Closeness:
    """Absolute errors over all `size` values (largest, mean, 99th percentile), the largest error relative to the value
    (at least `RELATIVE_FLOOR`), and the cosine of the angle between both as vectors (1 where both are zero)."""

    max_error: float
    mean_error: float
    p99_error: float
    max_relative_error: float
    cosine: float
    size: int


NOTHING_COMPARED = Closeness(
    max_error=math.inf, mean_error=math.inf, p99_error=math.inf, max_relative_error=math.inf, cosine=0.0, size=0
)
"""What stands where a value was no result at all."""


def worst_of(found: Sequence[Closeness]) -> Closeness:
    """Of each figure the worst: of the errors the largest, of the cosine the smallest; the mean is over all values."""
    size = sum(one.size for one in found)
    return Closeness(
        max_error=max(one.max_error for one in found),
        mean_error=sum(one.mean_error * one.size for one in found) / size,
        p99_error=max(one.p99_error for one in found),
        max_relative_error=max(one.max_relative_error for one in found),
        cosine=min(one.cosine for one in found),
        size=size,
    )


def closeness(value: Array, truth: Array) -> Closeness:
    """Compare finite values with the truth, both of one shape."""
    wide = value.astype(np.float64)
    error = np.abs(wide - truth)
    return Closeness(
        max_error=float(error.max()),
        mean_error=float(error.mean()),
        p99_error=float(np.percentile(error, 99)),
        max_relative_error=float((error / np.maximum(np.abs(truth), RELATIVE_FLOOR)).max()),
        cosine=_cosine(wide.ravel(), truth.ravel()),
        size=error.size,
    )


def problem_of(value: Any, truth: Array, spec: TensorSpec) -> str:
    """What makes a value no result to compare: its absence, its dtype, its shape, or a number that is none."""
    if value is None:
        return "no such output"
    if value.dtype != spec.dtype or value.shape != truth.shape:
        return f"got {value.dtype} {value.shape}, expected {spec.dtype} {truth.shape}"
    wrong = int(value.size - np.isfinite(value).sum())
    return f"{wrong} of {value.size} values are NaN or Inf" if wrong else ""


def _cosine(a: Array, b: Array) -> float:
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    if lengths == 0:
        return float(not a.any() and not b.any())
    return min(1.0, max(-1.0, float(a @ b) / lengths))  # rounding can carry it a last bit beyond
