"""Latency: how long one call takes on each backend, measured side by side at one stated shape.

Backends take turns in rounds, so that a change of the host's clock or load falls on all of them, and a ratio is the
median of ratios within a round. A call goes from host memory to host memory.
"""

import contextlib
import gc
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx.candidates import Candidate

Array = NDArray[Any]
Call = Callable[[], object]

BASELINE = "pytorch-cpu"

ROUNDS = 10

_WARM_UP_CALLS = 5
_MOST_CALLS_A_ROUND = 1000


@dataclass(frozen=True, kw_only=True)
class LatencyRow:
    """One backend's times in ms over `calls` calls; `first_call_ms` is the first after opening, lazy set-up included.

    `steps_per_second` counts rows times time steps at the median; `speedup` is how many times faster than PyTorch on
    CPU, None where that did not run.
    """

    backend: str
    device: str
    first_call_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    steps_per_second: float
    speedup: float | None
    calls: int


@dataclass(frozen=True, kw_only=True)
class LatencyReport:
    """Times at one shape (`sizes`, such as `{"T": 50, "B": 1}`); it never decides a verdict."""

    sizes: Mapping[str, int]
    threads: int
    rows: tuple[LatencyRow, ...]
    notes: tuple[str, ...] = ()


def measure_latency(
    candidates: Sequence[Candidate], feeds: Mapping[str, Array], *, steps: int, seconds: float
) -> list[LatencyRow]:
    """Time each candidate on the same inputs.

    Args:
        candidates: freshly opened; their first call is timed too.
        feeds: inputs by the contract's names.
        steps: time steps of one call, over all rows of the batch.
        seconds: about how long to time each candidate.
    """
    calls = [candidate.prepare(feeds) for candidate in candidates]
    with _undisturbed():
        first = [_timed_ms(call) for call in calls]
        counts = [_calls_per_round(call, seconds) for call in calls]
        rounds = _alternate(calls, counts)
    medians = [[statistics.median(times) for times in own] for own in rounds]
    names = [candidate.name for candidate in candidates]
    baseline = medians[names.index(BASELINE)] if BASELINE in names else None
    return [
        _row(candidate, first[i], rounds[i], steps, _speedup(medians[i], baseline))
        for i, candidate in enumerate(candidates)
    ]


def _alternate(calls: Sequence[Call], counts: Sequence[int]) -> list[list[list[float]]]:
    """Times in ms by candidate and round; each round starts with another candidate."""
    rounds: list[list[list[float]]] = [[] for _ in calls]
    for turn in range(ROUNDS):
        for place in range(len(calls)):
            i = (turn + place) % len(calls)
            calls[i]()  # back into the caches, after another backend's round
            rounds[i].append([_timed_ms(calls[i]) for _ in range(counts[i])])
    return rounds


def _calls_per_round(call: Call, seconds: float) -> int:
    """Warm up, and find how many calls fill a round's share of the time."""
    typical_ms = statistics.median(_timed_ms(call) for _ in range(_WARM_UP_CALLS))
    share_ms = seconds * 1000 / ROUNDS
    return max(1, min(_MOST_CALLS_A_ROUND, round(share_ms / max(typical_ms, 1e-3))))


def _timed_ms(call: Call) -> float:
    start = perf_counter_ns()
    call()
    return (perf_counter_ns() - start) / 1e6


def _row(
    candidate: Candidate, first_ms: float, rounds: list[list[float]], steps: int, speedup: float | None
) -> LatencyRow:
    times = [time for round_ in rounds for time in round_]
    p50, p90, p99 = (float(value) for value in np.percentile(times, (50, 90, 99)))
    return LatencyRow(
        backend=candidate.name,
        device=candidate.device,
        first_call_ms=first_ms,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        steps_per_second=steps * 1000 / p50,
        speedup=speedup,
        calls=len(times),
    )


def _speedup(own: list[float], baseline: list[float] | None) -> float | None:
    if baseline is None:
        return None
    return statistics.median(theirs / mine for mine, theirs in zip(own, baseline, strict=True))


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """No garbage collection inside the block."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
