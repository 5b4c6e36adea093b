"""What moved between two reports of the same model, beyond what two runs of the unchanged model differ by.

Within one run intervals are narrow, and two runs still differ: memory lies elsewhere, and the machine is in another
mood. Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time" (ISMM 2013): repetitions of a level say nothing of
the variance above it. So an interval alone never decides here.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from rnnx.errors import ReportError
from rnnx.fingerprint import differences
from rnnx.timing.figures import BenchReport, Estimate, LatencyReport, ThroughputPoint
from rnnx.timing.latency import BASELINE
from rnnx.timing.throughput import POINT_ROUNDS

Verdict = Literal["no change", "slower", "faster", "more", "less"]

LEAST_MOVE = 0.10
"""Runs of an unchanged model in fresh processes on a quiet machine moved by up to 3 %; see benchmarks/results/."""

NOISE_FACTOR = 3.0

MOST_LOAD = 0.75
"""Load average for each core above which absolute times say more of the other work than of the model."""

RULE = (
    f"a change counts when the 95 % intervals of before and now do not overlap, and the figure moved by more than "
    f"{LEAST_MOVE:.0%} and by more than {NOISE_FACTOR:g} times the noise: how far single rounds of both runs spread. "
    f"Latency and throughput are judged as ratios to {BASELINE} of the same run where it ran, for a busy machine slows "
    "both. Tails, streaming and start-up times are shown and not judged: a run has too few of them"
)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure that can be judged: its estimate, how far a single round spreads (a deviation of its logarithm).

    `absolute` figures depend on the machine and its load; the others are ratios within one run. `better` says which
    way is good.
    """

    estimate: Estimate
    spread: float
    unit: str
    absolute: bool
    better: Literal["lower", "higher"]


Figures = Mapping[tuple[str, str], Figure]
"""Figures by backend and subject."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """One figure of one backend, before and now; `change` and `threshold` are relative, such as 0.5 for half more."""

    backend: str
    subject: str
    unit: str
    before: Estimate
    now: Estimate
    change: float
    threshold: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class BenchComparison:
    """Every figure that was judged, by the `rule`, and `notes` on what was not and why. True when nothing moved."""

    moves: tuple[Move, ...]
    notes: tuple[str, ...]
    rule: str = RULE

    def __bool__(self) -> bool:
        return not self.moved

    @property
    def moved(self) -> tuple[Move, ...]:
        """The moves that are a change."""
        return tuple(move for move in self.moves if move.verdict != "no change")


def refuse_incomparable(before: BenchReport, weights_sha256: str, sizes: Mapping[str, int], threads: int) -> None:
    """Refuse an earlier report before a long measurement that it could not be compared with.

    Raises:
        ReportError: it is of other weights, another shape or another number of threads.
    """
    earlier = {"weights with sha256": before.weights_sha256[:12], "shape": _shape(before.latency.sizes)}
    wanted = {"weights with sha256": weights_sha256[:12], "shape": _shape(sizes)}
    earlier["CPU threads"], wanted["CPU threads"] = str(before.latency.threads), str(threads)
    for name, value in wanted.items():
        if earlier[name] != value:
            raise ReportError(
                f"report of {before.model}",
                got=f"{name} {earlier[name]}",
                expected=f"{name} {value}",
                remedy="compare with a report of the same model, --at and --threads",
            )


def _shape(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{dim}={size}" for dim, size in sorted(sizes.items()))


def compare_benches(before: BenchReport, now: BenchReport) -> BenchComparison:
    """Judge every figure that both reports have.

    Where the machine or a version differs, absolute figures are not judged, and the notes say what differs.
    """
    differs = differences(before.fingerprint, now.fingerprint)
    old, new = _figures(before), _figures(now)
    unlike = [*(f"differs: {text}" for text in differs), *_busy("before", before), *_busy("now", now)]
    return BenchComparison(
        moves=_moves(old, new, with_absolute=not unlike),
        notes=(
            *_export_note(before, now),
            *unlike,
            *(["absolute times and memory are not judged, for that may move them"] if unlike else []),
            *_missing(old, new),
        ),
    )


def compare_latency(before: LatencyReport, now: LatencyReport, *, same_machine: bool) -> tuple[Move, ...]:
    """Judge the latency of every backend that both reports have, by the same rule."""
    old, new = dict(_latency_figures(before)), dict(_latency_figures(now))
    return _moves(old, new, with_absolute=same_machine)


def _moves(old: Figures, new: Figures, *, with_absolute: bool) -> tuple[Move, ...]:
    shared = [key for key in old if key in new]
    return tuple(_move(*key, old[key], new[key]) for key in shared if with_absolute or not old[key].absolute)


def _figures(report: BenchReport) -> Figures:
    return {
        **dict(_latency_figures(report.latency)),
        **dict(_throughput_figures(report)),
        **dict(_memory_figures(report)),
    }


def _latency_figures(latency: LatencyReport) -> Iterator[tuple[tuple[str, str], Figure]]:
    for row in latency.rows:
        if row.ratio is None:
            yield (row.backend, "p50 latency"), _times("ms", row.p50_ms, row.rounds)
        elif row.backend != BASELINE:
            spread = _spread(row.ratio, row.rounds)
            figure = Figure(estimate=row.ratio, spread=spread, unit="×", absolute=False, better="higher")
            yield (row.backend, f"p50 latency, × {BASELINE}"), figure
        if row.device_p50_ms is not None:
            yield (row.backend, "device-resident p50"), _times("ms", row.device_p50_ms, row.rounds)


def _throughput_figures(report: BenchReport) -> Iterator[tuple[tuple[str, str], Figure]]:
    """The peak of each curve, over PyTorch's peak where it ran: one figure, for each of many would err at times."""
    peaks: dict[tuple[str, str], ThroughputPoint] = {}
    for point in report.throughput:
        key = (point.backend, point.sweep)
        if key not in peaks or point.steps_per_second.value > peaks[key].steps_per_second.value:
            peaks[key] = point
    for (backend, sweep), point in peaks.items():
        baseline = peaks.get((BASELINE, sweep))
        if baseline is None:
            yield (backend, f"peak steps/s by {sweep}"), _rate(point)
        elif backend != BASELINE:
            subject = f"peak steps/s by {sweep}, × {BASELINE}"
            yield (backend, subject), _over(_rate(point), _rate(baseline))


def _memory_figures(report: BenchReport) -> Iterator[tuple[tuple[str, str], Figure]]:
    for row in report.latency.start_up:
        if not row.problem:
            exact = Estimate(value=row.peak_mib, low=row.peak_mib, high=row.peak_mib)
            figure = Figure(estimate=exact, spread=0.0, unit="MiB", absolute=True, better="lower")
            yield (row.backend, "peak memory at start-up"), figure


def _times(unit: str, estimate: Estimate, rounds: int) -> Figure:
    return Figure(estimate=estimate, spread=_spread(estimate, rounds), unit=unit, absolute=True, better="lower")


def _rate(point: ThroughputPoint) -> Figure:
    rate = point.steps_per_second
    return Figure(estimate=rate, spread=_spread(rate, POINT_ROUNDS), unit="steps/s", absolute=True, better="higher")


def _over(own: Figure, baseline: Figure) -> Figure:
    """A ratio of two figures with the widest interval that theirs allow."""
    a, b = own.estimate, baseline.estimate
    estimate = Estimate(value=a.value / b.value, low=a.low / b.high, high=a.high / b.low)
    spread = math.hypot(own.spread, baseline.spread)
    return Figure(estimate=estimate, spread=spread, unit="×", absolute=False, better=own.better)


def _spread(estimate: Estimate, rounds: int) -> float:
    """The deviation of one round's logarithm: an interval of 1.96 deviations either way narrows as √rounds."""
    return math.log(estimate.high / estimate.low) / (2 * 1.96) * math.sqrt(rounds)


def _move(backend: str, subject: str, before: Figure, now: Figure) -> Move:
    old, new = before.estimate, now.estimate
    noise = NOISE_FACTOR * math.hypot(before.spread, now.spread)
    threshold = max(math.log1p(LEAST_MOVE), noise)
    apart = new.low > old.high or new.high < old.low
    moved = apart and abs(math.log(new.value / old.value)) > threshold
    return Move(
        backend=backend,
        subject=subject,
        unit=now.unit,
        before=old,
        now=new,
        change=new.value / old.value - 1,
        threshold=math.expm1(min(threshold, 20.0)),
        verdict=_verdict(now, rose=new.value > old.value) if moved else "no change",
    )


def _verdict(figure: Figure, *, rose: bool) -> Verdict:
    if figure.unit == "MiB":
        return "more" if rose else "less"
    return "faster" if rose == (figure.better == "higher") else "slower"


def _busy(when: str, report: BenchReport) -> list[str]:
    """Whether other work kept the cores when a measurement began."""
    load, cores = (_first_number(report.fingerprint.machine.get(name, "")) for name in ("load average", "cores"))
    if load is None or cores is None or load <= MOST_LOAD * cores:
        return []
    return [f"the machine was busy {when}: load average {load:g} on {cores:g} cores"]


def _first_number(text: str) -> float | None:
    found = re.match(r"\d+(\.\d+)?", text)
    return float(found.group()) if found else None


def _export_note(before: BenchReport, now: BenchReport) -> list[str]:
    same = before.model_sha256 == now.model_sha256
    return [] if same else ["the model's file is another one, of the same weights"]


def _missing(old: Figures, new: Figures) -> list[str]:
    """Figures that one report alone has, by backend."""
    gone = [f"{backend}: {subject} was measured before and is not now" for backend, subject in old.keys() - new.keys()]
    added = [f"{backend}: {subject} is new" for backend, subject in new.keys() - old.keys()]
    return sorted(gone) + sorted(added)
