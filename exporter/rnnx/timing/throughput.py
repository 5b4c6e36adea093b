"""Throughput against batch and against time, doubling either until more of it brings nothing more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns

from rnnx.progress import ProgressListener, stage
from rnnx.runners.candidates import Candidate
from rnnx.timing.bootstrap import inverted, quantile_estimates
from rnnx.timing.figures import Estimate, ThroughputPoint
from rnnx.timing.inputs import steps_of_call, timing_feeds
from rnnx.timing.rounds import alternate, calls_per_round
from rnnx.timing.stopwatch import Clock, host_timed, undisturbed
from rnnx.timing.warm_up import warm_up
from rnnx.truths.model_cases import CaseSource
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import BackendError, InputError

LEAST_GAIN = 0.05
"""Two doublings in a row that gain less than this over the best before them are saturation."""

LARGEST = {"B": 1024, "T": 4096}
"""Where a sweep ends that does not saturate."""

LONGEST_CALL_MS = 1000.0
"""A backend whose call takes longer is not tried at larger sizes."""

POINT_ROUNDS = 5

TIMES_ITS_SHARE, LEAST_SWEEP_S = 10, 1.0
"""A backend whose sweep has taken so many times the seconds of all its points is not tried at larger sizes."""

Covers = Callable[[str, Mapping[str, int]], bool]


@dataclass(kw_only=True)
class _Curve:
    """One backend's points of one sweep while it is under way; `ended` says why it went no further.

    A model may not take the smallest sizes: `refused` is what it said of them.
    """

    candidate: Candidate
    points: list[tuple[Mapping[str, int], Estimate]] = field(default_factory=list)
    spent_ms: float = 0.0
    ended: str = ""
    refused: str = ""


def measure_throughput(
    candidates: Sequence[Candidate],
    inputs: CaseSource,
    sizes: Mapping[str, int],
    *,
    seconds: float,
    covers: Covers,
    listener: ProgressListener,
    clock: Clock = perf_counter_ns,
) -> tuple[list[ThroughputPoint], list[str]]:
    """Steps per second at doubling B, with T as in `sizes`, and at doubling T with B so, where the model leaves T free.

    Args:
        candidates: opened, in this process; they take turns at each point.
        inputs: what the model's inputs are drawn from.
        sizes: the sizes that a sweep leaves as they are.
        seconds: about how long to time each backend at one point.
        covers: whether a row takes inputs of some sizes.
        listener: is told of each point.
        clock: the host's.

    Returns:
        The points, and notes on backends whose sweep ended for another reason than saturation.
    """
    points, notes = [], []
    for dim in (dim for dim in sizes if dim in LARGEST):
        curves = [_Curve(candidate=candidate) for candidate in candidates]
        doublings = [2**power for power in range(LARGEST[dim].bit_length())]
        with stage(listener, f"throughput against {dim}", len(doublings)) as part_done, undisturbed():
            for size in doublings:
                at = {**sizes, dim: size}
                active = [curve for curve in curves if _takes(curve, at, covers)]
                _measure_point(active, inputs, at, seconds, clock)
                _end_late(active, max(TIMES_ITS_SHARE * seconds * len(doublings), LEAST_SWEEP_S), at)
                part_done()
        for curve in curves:
            curve.ended = curve.ended or ("" if curve.points else curve.refused)
        points += [point for curve in curves for point in _points(curve, dim, inputs.contract)]
        notes += [f"{curve.candidate.name}: throughput against {dim} {curve.ended}" for curve in curves if curve.ended]
    return points, notes


def is_saturated(rates: Sequence[Estimate]) -> bool:
    """Whether the last two doublings surely brought less than `LEAST_GAIN` over the best before them.

    One is not enough: from one row to two, a matrix product takes the place of a matrix-vector product, which may
    gain nothing while four rows gain again. Sure is what holds at the low end of the best one's interval.
    """
    best = max((rate.low for rate in rates[:-2]), default=0.0)
    return len(rates) > 2 and max(rate.value for rate in rates[-2:]) < best * (1 + LEAST_GAIN)


def _takes(curve: _Curve, sizes: Mapping[str, int], covers: Covers) -> bool:
    if curve.ended or _done(curve):
        return False
    if not covers(curve.candidate.name, sizes):
        curve.ended = f"ended before {_text(sizes)}: no profile covers it"
    return not curve.ended


def _done(curve: _Curve) -> bool:
    return is_saturated([rate for _, rate in curve.points])


def _measure_point(
    curves: Sequence[_Curve], inputs: CaseSource, sizes: Mapping[str, int], seconds: float, clock: Clock
) -> None:
    steps = steps_of_call(inputs.contract, sizes)
    ready = []
    for curve in curves:
        try:
            measure = host_timed(curve.candidate.prepare(timing_feeds(inputs, sizes)), clock)
            ready.append((curve, measure, warm_up(measure, bound_ms=seconds * 1000)))
        except (BackendError, InputError, MemoryError, ValueError) as error:  # NumPy has limits besides the host's
            text = f"ended before {_text(sizes)}: {error}"
            if curve.points:
                curve.ended = text
            else:
                curve.refused = curve.refused or text
    share_ms = seconds * 1000 / POINT_ROUNDS
    counts = [calls_per_round(warmed, share_ms) for _, _, warmed in ready]
    times = alternate([measure for _, measure, _ in ready], counts, POINT_ROUNDS)
    for (curve, _, warmed), own in zip(ready, times, strict=True):
        median_ms = quantile_estimates(own, (0.5,))[0]
        curve.points.append((sizes, inverted(median_ms, 1000.0 * steps)))
        curve.spent_ms += warmed.calls * warmed.typical_ms + float(own.sum())
        if warmed.typical_ms > LONGEST_CALL_MS and not _done(curve):
            curve.ended = f"ended at {_text(sizes)}: one call takes {warmed.typical_ms / 1000:.1f} s"


def _end_late(curves: Sequence[_Curve], most_s: float, sizes: Mapping[str, int]) -> None:
    for curve in curves:
        if curve.spent_ms > most_s * 1000 and not (curve.ended or _done(curve)):
            curve.ended = f"ended at {_text(sizes)}: it has taken {curve.spent_ms / 1000:.1f} s"


def _points(curve: _Curve, dim: str, contract: Contract) -> list[ThroughputPoint]:
    knee = _knee([rate.value for _, rate in curve.points]) if _done(curve) else len(curve.points)
    return [
        ThroughputPoint(
            backend=curve.candidate.name,
            time=steps_of_call(contract, {**sizes, "B": 1}),
            batch=sizes.get("B", 1),
            sweep=dim,
            steps_per_second=rate,
            saturated=i >= knee,
        )
        for i, (sizes, rate) in enumerate(curve.points)
    ]


def _knee(rates: Sequence[float]) -> int:
    """The first point that no larger one beats by `LEAST_GAIN`."""
    return next(i for i, rate in enumerate(rates) if max(rates[i:]) < (1 + LEAST_GAIN) * rate)


def _text(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{dim}={size}" for dim, size in sizes.items())
