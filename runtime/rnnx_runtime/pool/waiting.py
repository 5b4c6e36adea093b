"""How long to wait for a fuller batch."""

from math import inf

from rnnx_runtime.pool.options import PoolOptions

SHORTEST_S = 50e-6
"""The shortest wait that a timer of the system keeps, about."""
_MEMORY = 0.2
"""The weight of a new measurement in the averages."""
_SLACK = 1.5
"""How much longer than expected to wait for rows that are still to come."""


class Waiting:
    """Waits while pushes arrive faster than a row of the batch runs, for then a fuller batch serves all sooner.

    One more row costs each of n waiting rows the time until it arrives, and spares that row a wait for the whole step
    of t(n). So waiting pays while the gap between arrivals is below t(n) / n. t(n) is measured, by powers of two of n.
    """

    def __init__(self, options: PoolOptions) -> None:
        self._limit_s = options.max_wait_us * 1e-6
        self._adaptive = options.adaptive
        self._row_s: dict[int, float] = {}
        self._gap_s = inf
        self._last_s = -inf

    def slice_s(self, rows: int, full: int, waited_s: float) -> float:
        """How long to wait before looking again, with so many rows there of a full batch; 0 to run them now."""
        left = self._limit_s - max(waited_s, 0.0)  # a clock that is set back must not prolong it
        if left <= 0 or not self._adaptive:
            return max(left, 0.0)
        missing = self._worth_rows(full) - rows
        return min(left, max(SHORTEST_S, _SLACK * self._gap_s * missing)) if missing > 0 else 0.0

    def saw_arrivals(self, count: int, first_s: float, last_s: float) -> None:
        """So many pushes came, the first and the last at these times."""
        gap = (last_s - first_s) / (count - 1) if count > 1 else first_s - self._last_s
        self._last_s = last_s
        self._average(max(gap, 0.0))

    def saw_nothing(self, seconds: float) -> None:
        """Nothing came in some time."""
        self._average(max(seconds, self._gap_s))

    def saw_step(self, rows: int, seconds: float) -> None:
        """A step of so many rows took some time."""
        key = rows.bit_length()
        known = self._row_s.get(key)
        self._row_s[key] = seconds / rows if known is None else known + _MEMORY * (seconds / rows - known)

    def step_s(self, rows: int) -> float:
        """How long a step of so many rows takes; 0 where none was seen."""
        return rows * self._row_s.get(rows.bit_length(), 0.0)

    def _average(self, gap: float) -> None:
        self._gap_s = gap if self._gap_s == inf else self._gap_s + _MEMORY * (gap - self._gap_s)

    def _worth_rows(self, full: int) -> int:
        """The smallest batch whose rows run as fast as pushes arrive; a full one where none does."""
        if self._gap_s == inf or not self._row_s:
            return 1
        worth = (1 << key - 1 for key, row_s in sorted(self._row_s.items()) if row_s <= self._gap_s)
        return min(next(worth, full), full)
