"""How sure a figure is: 95 % confidence intervals by resampling whole rounds, then calls within them.

Calls of one round share the state of the machine, so that resampling calls alone would give intervals far too narrow.
The two-stage bootstrap: Davison and Hinkley, "Bootstrap Methods and their Application" (1997), section 3.8; for
timings: Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time" (ISMM 2013), section 9. Percentile intervals:
Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
"""

from collections.abc import Sequence

import numpy as np

from rnnx.timing.figures import Estimate
from rnnx_runtime.array_type import Array

REPLICATES = 1000

_TAILS = (0.025, 0.975)

_MOST_VALUES = 200_000
"""Values resampled at a time, so that many calls do not take much memory."""


def quantile_estimates(rounds: Array, quantiles: Sequence[float], *, seed: int = 0) -> list[Estimate]:
    """Quantiles (0 to 1) of all calls, each with its interval.

    Args:
        rounds: `(rounds, calls)`, the times of each round.
        quantiles: from 0 to 1.
        seed: of the resampling, so that the same times give the same interval.
    """
    chance = np.random.default_rng(seed)
    at_once = max(1, _MOST_VALUES // rounds.size)
    blocks = [min(at_once, REPLICATES - done) for done in range(0, REPLICATES, at_once)]
    replicates = np.hstack([np.quantile(_resampled(rounds, size, chance), quantiles, axis=1) for size in blocks])
    low, high = np.quantile(replicates, _TAILS, axis=1)
    values = np.quantile(rounds, quantiles)
    return [
        Estimate(value=float(value), low=float(min(a, value)), high=float(max(b, value)))
        for value, a, b in zip(values, low, high, strict=True)
    ]


def median_estimate(values: Sequence[float], *, seed: int = 0) -> Estimate:
    """The median of figures of which there is one a round, with its interval."""
    return quantile_estimates(np.array(values)[:, None], (0.5,), seed=seed)[0]


def inverted(estimate: Estimate, numerator: float) -> Estimate:
    """`numerator` over a figure: the interval's ends change places."""
    return Estimate(value=numerator / estimate.value, low=numerator / estimate.high, high=numerator / estimate.low)


def _resampled(rounds: Array, size: int, chance: np.random.Generator) -> Array:
    """`size` replicates of all calls, `(size, rounds · calls)`."""
    count, calls = rounds.shape
    chosen = chance.integers(count, size=(size, count, 1))
    sample: Array = rounds[chosen, chance.integers(calls, size=(size, count, calls))]
    return sample.reshape(size, -1)
