"""A model that runs, whatever runs it, and whether two of its values are the same but for rounding."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np

from rnnx.truths.comparable import comparable
from rnnx_runtime.array_type import Array

CLOSE = 1e-9
"""The share of the largest value that float64 may differ by; another order of sums does so by some 1e-14."""

CLOSE_IN_FLOAT32 = 1e-4
"""The same of float32, in which another order of sums differs by some 1e-6, and a long recurrence by ten times that."""

Watched = Mapping[str, Sequence[Array]]
"""What each part of a model gave at each of its calls, in the order of the first."""


@dataclass(frozen=True, kw_only=True)
class RunningModel:
    """A model as the proofs call it.

    `run` gives every output by name for inputs by name, and raises whatever the model raises for inputs that it cannot
    take; `name` is who runs it. Values are the same where they differ by at most `close` as a share of the largest.
    `watched` records what parts inside give while it is entered, where that can be seen.
    """

    run: Callable[[Mapping[str, Array]], Mapping[str, Array]]
    name: str = "PyTorch"
    close: float = CLOSE
    watched: Callable[[], AbstractContextManager[Watched]] = lambda: nullcontext({})

    def alike(self, value: Array, truth: Array) -> bool:
        """Whether shapes are equal and values too, but for rounding."""
        return alike(value, truth, self.close)

    def raised(self, what: str, error: Exception) -> str:
        """What the model raised for a trial, in one line."""
        return " ".join(f"{self.name} raises for {what}: {type(error).__name__}: {error}".split())[:200]


def alike(value: Array, truth: Array, close: float = CLOSE) -> bool:
    """Whether shapes are equal and values too, but for rounding; NaN is equal to NaN."""
    if value.shape != truth.shape:
        return False
    if truth.dtype.kind != "f":
        return bool(np.array_equal(value, truth))
    scaled, expected = comparable(value, truth), comparable(truth, truth)  # a mask of -1e9 must not hide the others
    scale = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0)))
    return bool(np.allclose(scaled, expected, rtol=0, atol=close * scale, equal_nan=True))
