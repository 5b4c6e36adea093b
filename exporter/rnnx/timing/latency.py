"""How long one call takes on each backend, measured side by side at one stated shape."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np

from rnnx.progress import ProgressListener, Silence, stage
from rnnx.runners.candidates import Candidate
from rnnx.timing.bootstrap import median_estimate, quantile_estimates
from rnnx.timing.figures import Estimate, LatencyRow
from rnnx.timing.other_work import CONDITION, watch_other_work
from rnnx.timing.residency import resident_measure
from rnnx.timing.rounds import alternate, calls_per_round
from rnnx.timing.stopwatch import Clock, Measure, host_timed, undisturbed
from rnnx.timing.warm_up import WarmUp, warm_up
from rnnx_runtime.array_type import Array

BASELINE = "pytorch-cpu"
"""The row that every ratio is over."""

MOST_ROUNDS = 20
FEWEST_ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class _Timed:
    """One thing that is timed, its warm-up, and afterwards its times in ms, `(rounds, calls)`."""

    candidate: Candidate
    on_device: bool
    measure: Measure
    warmed: WarmUp


def measure_latency(
    candidates: Sequence[Candidate],
    feeds: Mapping[str, Array],
    *,
    steps: int,
    seconds: float,
    conditions: Mapping[str, Mapping[str, str]] | None = None,
    listener: ProgressListener | None = None,
    clock: Clock = perf_counter_ns,
) -> list[LatencyRow]:
    """Time each candidate on the same inputs, in alternating rounds after a warm-up until stable.

    Args:
        candidates: opened, in this process.
        feeds: inputs by the contract's names.
        steps: time steps of one call, over all rows of the batch.
        seconds: about how long to time each candidate, the warm-up apart, which takes as long again at most.
        conditions: by row, what its figures depend on; see `rnnx.timing.conditions`. How busy the rest of the machine
            was is added to them.
        listener: is told of each round.
        clock: the host's.

    Raises:
        BackendError: a backend failed.
    """
    listener = listener or Silence()
    other_work = watch_other_work()
    with undisturbed():
        timed = _warmed(candidates, feeds, seconds, listener, clock)
        rounds = _rounds(timed, seconds)
        counts = [calls_per_round(one.warmed, seconds * 1000 / rounds) for one in timed]
        with stage(listener, "latency", rounds) as part_done:
            times = alternate([one.measure for one in timed], counts, rounds, on_round=part_done)
    during = {CONDITION: other_work()}
    stated = {one.name: {**(conditions or {}).get(one.name, {}), **during} for one in candidates}
    return _rows(timed, times, steps, stated)


def _warmed(
    candidates: Sequence[Candidate],
    feeds: Mapping[str, Array],
    seconds: float,
    listener: ProgressListener,
    clock: Clock,
) -> list[_Timed]:
    host = [(candidate, False, host_timed(candidate.prepare(feeds), clock)) for candidate in candidates]
    device = [(candidate, True, resident_measure(candidate, feeds)) for candidate in candidates]
    found = []
    with stage(listener, "warm-up", len(candidates)) as part_done:
        for candidate, on_device, measure in (*host, *device):
            if measure is not None:
                warmed = warm_up(measure, bound_ms=seconds * 1000)
                found.append(_Timed(candidate=candidate, on_device=on_device, measure=measure, warmed=warmed))
            if not on_device:
                part_done()
    return found


def _rounds(timed: Sequence[_Timed], seconds: float) -> int:
    """As many rounds as the slowest has calls for, within bounds: an interval needs several."""
    slowest_ms = max((one.warmed.typical_ms for one in timed), default=1.0)
    return max(FEWEST_ROUNDS, min(MOST_ROUNDS, int(seconds * 1000 / max(slowest_ms, 1e-3))))


def _rows(
    timed: Sequence[_Timed], times: Sequence[Array], steps: int, conditions: Mapping[str, Mapping[str, str]]
) -> list[LatencyRow]:
    host = [(one, own) for one, own in zip(timed, times, strict=True) if not one.on_device]
    device = {one.candidate.name: own for one, own in zip(timed, times, strict=True) if one.on_device}
    baseline = next((own for one, own in host if one.candidate.name == BASELINE), None)
    return [
        _row(one, own, device.get(one.candidate.name), baseline, steps, conditions[one.candidate.name])
        for one, own in host
    ]


def _row(
    one: _Timed,
    times: Array,
    on_device: Array | None,
    baseline: Array | None,
    steps: int,
    conditions: Mapping[str, str],
) -> LatencyRow:
    p50, p90, p99 = quantile_estimates(times, (0.5, 0.9, 0.99))
    return LatencyRow(
        backend=one.candidate.name,
        device=one.candidate.device,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        max_ms=float(times.max()),
        device_p50_ms=None if on_device is None else quantile_estimates(on_device, (0.5,))[0],
        ratio=None if baseline is None else _ratio(times, baseline),
        steps_per_second=steps * 1000 / p50.value,
        calls=times.size,
        rounds=len(times),
        warm_up_calls=one.warmed.calls,
        stable=one.warmed.stable,
        quantiles_ms=tuple(float(value) for value in np.percentile(times, range(101))),
        conditions=dict(conditions),
    )


def _ratio(own: Array, baseline: Array) -> Estimate:
    """PyTorch's median over this backend's, round by round."""
    return median_estimate(
        [statistics.median(theirs) / statistics.median(mine) for mine, theirs in zip(own, baseline, strict=True)]
    )
