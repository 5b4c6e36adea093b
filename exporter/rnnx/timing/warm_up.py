"""Calling a backend until its time no longer changes, which takes as long as it takes."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rnnx.timing.stopwatch import Measure

WINDOW_MS = 10.0
"""Calls are judged by the median of as many as fill this time, at least one."""

WINDOWS = 4
"""Consecutive windows that must agree."""

TOLERANCE = 0.05
"""How far apart, relatively, the medians of those windows may lie."""

_MOST_CALLS = 1000
"""Calls of one window, for a clock that shows no time at all between two of them."""


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """How many calls were made, whether their time became stable, and what it was in ms at the end."""

    calls: int
    stable: bool
    typical_ms: float


def warm_up(measure: Measure, *, bound_ms: float) -> WarmUp:
    """Call until consecutive windows agree and show no trend, or until calls of `bound_ms` in all were made.

    Four windows that each are faster than the one before are a trend, however close: a cache still fills, or a clock
    still rises. At least `WINDOWS` windows are filled, whatever the bound.
    """
    medians: list[float] = []
    calls, spent_ms = 0, 0.0
    while True:
        times = _window(measure)
        medians.append(statistics.median(times))
        calls, spent_ms = calls + len(times), spent_ms + sum(times)
        recent = medians[-WINDOWS:]
        stable = len(recent) == WINDOWS and _agree(recent)
        if stable or (len(recent) == WINDOWS and spent_ms >= bound_ms):
            return WarmUp(calls=calls, stable=stable, typical_ms=statistics.median(recent))


def _window(measure: Measure) -> list[float]:
    times: list[float] = []
    while sum(times) < WINDOW_MS and len(times) < _MOST_CALLS:
        times.append(measure())
    return times


def _agree(medians: Sequence[float]) -> bool:
    pairs = list(itertools.pairwise(medians))
    trend = all(a > b for a, b in pairs) or all(a < b for a, b in pairs)
    return not trend and max(medians) <= min(medians) * (1 + TOLERANCE)
