"""How close a backend's values are to the truth, in every figure that a report gives."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnx.cases import Array
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
    return float(a @ b) / lengths
