"""What a pool counts: plain numbers and histograms, written by one thread and read by any."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

LATENCY_BOUNDS_S = tuple(base * 10.0**power for power in range(-5, 2) for base in (1.0, 2.5, 5.0))
"""Upper bounds of the latency buckets, 10 µs to 50 s."""
BATCH_BOUNDS = tuple(float(1 << power) for power in range(13))
"""Upper bounds of the batch size buckets, 1 to 4096 rows."""

_FEW = 12
"""Up to so many values, one bisection each costs less than NumPy's calls."""


@dataclass(frozen=True, kw_only=True)
class HistogramSnapshot:
    """Counts of values at most each bound (and one more bucket above the last), with their sum."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """How many values were seen."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """Their mean; 0 without values."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """An upper bound of the value that this share of all does not exceed; infinity above the last bound."""
        wanted = share * self.count
        seen = 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            seen += count
            if seen >= wanted:
                return bound
        return float("inf")


class Histogram:
    """A histogram with fixed bounds; cheap to feed with the values of a whole batch."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._edges = np.array(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def observe_many(self, value: float, count: int) -> None:
        """Count one value so many times."""
        self._counts[bisect_left(self._bounds, value)] += count
        self._total += count * value

    def observe_all(self, values: Sequence[float]) -> None:
        """Count many values."""
        if len(values) <= _FEW:
            for value in values:
                self.observe(value)
            return
        found = np.bincount(np.searchsorted(self._edges, values), minlength=len(self._counts))
        for index in found.nonzero()[0].tolist():
            self._counts[index] += int(found[index])
        self._total += sum(values)

    def snapshot(self) -> HistogramSnapshot:
        """The counts as they are now."""
        return HistogramSnapshot(bounds=self._bounds, counts=tuple(self._counts), total=self._total)


@dataclass(frozen=True, kw_only=True)
class PoolMetrics:
    """A pool's counts and histograms since it was made; latencies in seconds."""

    streams: int
    """Streams open now."""
    capacity: int
    queue_depth: int
    """Pushes accepted and not settled."""
    pushes: int
    """Pushes that gave an output."""
    frames: int
    steps: int
    swaps: int
    stalls: int
    evictions: int
    rejections: dict[str, int] = field(default_factory=dict)
    """Pushes without an output by reason: overloaded, late, cancelled, failed, closed."""
    batch_size: HistogramSnapshot
    wait_s: HistogramSnapshot
    """From a push to the step that ran its last frames."""
    step_s: HistogramSnapshot
    """Time of one step of the backend."""
    handling_s: HistogramSnapshot
    """The pool's own time beside a step: forming the batch and handing out its results."""
    latency_s: HistogramSnapshot
    """From a push to its output."""


class Counters:
    """What the pool's thread counts as it goes; others read it through `PoolMetrics`."""

    def __init__(self) -> None:
        self.pushes = self.frames = self.steps = self.swaps = self.stalls = self.evictions = 0
        self.rejections = dict.fromkeys(("overloaded", "late", "cancelled", "failed", "closed"), 0)
        self.batch_size = Histogram(BATCH_BOUNDS)
        self.wait_s = Histogram(LATENCY_BOUNDS_S)
        self.step_s = Histogram(LATENCY_BOUNDS_S)
        self.handling_s = Histogram(LATENCY_BOUNDS_S)
        self.latency_s = Histogram(LATENCY_BOUNDS_S)

    def snapshot(self, *, streams: int, capacity: int, queue_depth: int, overloaded: int) -> PoolMetrics:
        """The counts as they are now."""
        return PoolMetrics(
            streams=streams,
            capacity=capacity,
            queue_depth=queue_depth,
            pushes=self.pushes,
            frames=self.frames,
            steps=self.steps,
            swaps=self.swaps,
            stalls=self.stalls,
            evictions=self.evictions,
            rejections=self.rejections | {"overloaded": overloaded},
            batch_size=self.batch_size.snapshot(),
            wait_s=self.wait_s.snapshot(),
            step_s=self.step_s.snapshot(),
            handling_s=self.handling_s.snapshot(),
            latency_s=self.latency_s.snapshot(),
        )
