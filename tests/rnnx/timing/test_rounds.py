from collections.abc import Callable

import numpy as np

from rnnx.timing.rounds import MOST_CALLS, alternate, calls_per_round
from rnnx.timing.warm_up import WarmUp


def _logged(log: list[str], name: str, time_ms: float) -> Callable[[], float]:
    def measure() -> float:
        log.append(name)
        return time_ms

    return measure


def test_times_come_by_backend_and_round() -> None:
    first, second = alternate([lambda: 1.0, lambda: 2.0], [3, 1], 4)
    np.testing.assert_array_equal(first, np.full((4, 3), 1.0))
    np.testing.assert_array_equal(second, np.full((4, 1), 2.0))


def test_each_round_starts_with_another_backend_after_one_untimed_call() -> None:
    log: list[str] = []
    alternate([_logged(log, name, 1.0) for name in "abc"], [1, 1, 1], 3)
    assert "".join(log) == "aabbcc" + "bbccaa" + "ccaabb"


def test_every_round_is_told() -> None:
    told: list[int] = []
    alternate([lambda: 1.0], [1], 5, on_round=lambda: told.append(1))
    assert len(told) == 5


def test_calls_fill_a_rounds_share_within_bounds() -> None:
    def count(typical_ms: float) -> int:
        return calls_per_round(WarmUp(calls=1, stable=True, typical_ms=typical_ms), 50.0)

    assert [count(5.0), count(500.0), count(0.0)] == [10, 1, MOST_CALLS]
