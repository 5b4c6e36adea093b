"""Backends taking turns in rounds, so that a drift of the machine's clock or load falls on all of them alike."""

from collections.abc import Callable, Sequence

import numpy as np

from rnnx.timing.stopwatch import Measure
from rnnx.timing.warm_up import WarmUp
from rnnx_runtime.array_type import Array

MOST_CALLS = 1000
"""Calls of one backend in one round; more do not make its figures surer."""


def alternate(
    measures: Sequence[Measure],
    counts: Sequence[int],
    rounds: int,
    *,
    on_round: Callable[[], None] = lambda: None,
) -> list[Array]:
    """Each one's times in ms, `(rounds, calls)`; each round starts with another, and `on_round` is called after it."""
    times: list[list[list[float]]] = [[] for _ in measures]
    for turn in range(rounds):
        for place in range(len(measures)):
            i = (turn + place) % len(measures)
            measures[i]()  # back into the caches, after another backend's turn
            times[i].append([measures[i]() for _ in range(counts[i])])
        on_round()
    return [np.array(own) for own in times]


def calls_per_round(warmed: WarmUp, share_ms: float) -> int:
    """How many calls fill a round's share of the time."""
    return max(1, min(MOST_CALLS, round(share_ms / max(warmed.typical_ms, 1e-3))))
