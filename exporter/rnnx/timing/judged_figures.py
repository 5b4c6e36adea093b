"""Those figures of a report that a comparison judges, by backend and subject."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rnnx.timing.figures import BenchReport, Estimate, LatencyReport, ThroughputPoint
from rnnx.timing.latency import BASELINE
from rnnx.timing.other_work import CONDITION, NO_WORK, OtherWork, work_from_text


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure that can be judged.

    `absolute` figures depend on the machine and its load; the others are ratios within one run. `better` says which
    way is good, `sweep` which curve a point is of, `other_work` what else ran meanwhile.
    """

    estimate: Estimate
    unit: str
    absolute: bool
    better: Literal["lower", "higher"]
    sweep: str = ""
    other_work: OtherWork = NO_WORK


Figures = dict[tuple[str, str], Figure]


def bench_figures(report: BenchReport) -> Figures:
    """All of a bench, points of curves in ascending order of their size."""
    return {**latency_figures(report.latency), **dict(_throughput(report)), **dict(_memory(report))}


def latency_figures(latency: LatencyReport) -> Figures:
    """Those of latency: ratios to PyTorch where it ran, whose own row is then the yardstick, else times."""
    return dict(_latency(latency))


def _latency(latency: LatencyReport) -> Iterator[tuple[tuple[str, str], Figure]]:
    for row in latency.rows:
        work = work_from_text(row.conditions.get(CONDITION, ""))
        if row.ratio is None:
            yield (row.backend, "p50 latency"), _time(row.p50_ms, work)
        elif row.backend != BASELINE:
            ratio = Figure(estimate=row.ratio, unit="×", absolute=False, better="higher", other_work=work)
            yield (row.backend, f"p50 latency, × {BASELINE}"), ratio
        if row.device_p50_ms is not None:
            yield (row.backend, "device-resident p50"), _time(row.device_p50_ms, work)


def _throughput(report: BenchReport) -> Iterator[tuple[tuple[str, str], Figure]]:
    points = {(point.backend, point.sweep, _size(point)): point for point in report.throughput}
    ran = any(point.backend == BASELINE for point in report.throughput)
    for (backend, sweep, size), point in points.items():
        baseline = points.get((BASELINE, sweep, size))
        if not ran:
            yield (backend, f"steps/s at {size}"), _rate(point.steps_per_second, "steps/s", sweep, report)
        elif baseline is not None and backend != BASELINE:
            ratio = _over(point.steps_per_second, baseline.steps_per_second)
            yield (backend, f"steps/s at {size}, × {BASELINE}"), _rate(ratio, "×", sweep, report)


def _memory(report: BenchReport) -> Iterator[tuple[tuple[str, str], Figure]]:
    for row in report.latency.start_up:
        if not row.problem:
            exact = Estimate(value=row.peak_mib, low=row.peak_mib, high=row.peak_mib)
            figure = Figure(estimate=exact, unit="MiB", absolute=True, better="lower")
            yield (row.backend, "peak memory at start-up"), figure


def _time(estimate: Estimate, work: OtherWork) -> Figure:
    return Figure(estimate=estimate, unit="ms", absolute=True, better="lower", other_work=work)


def _rate(estimate: Estimate, unit: str, sweep: str, report: BenchReport) -> Figure:
    return Figure(
        estimate=estimate,
        unit=unit,
        absolute=unit != "×",
        better="higher",
        sweep=sweep,
        other_work=work_from_text(report.other_work),
    )


def _size(point: ThroughputPoint) -> str:
    """The point's own size first, so that a text names its sweep."""
    sizes = {"B": point.batch, "T": point.time}
    other = "T" if point.sweep == "B" else "B"
    return f"{point.sweep}={sizes[point.sweep]}, {other}={sizes[other]}"


def _over(own: Estimate, baseline: Estimate) -> Estimate:
    """A ratio with the widest interval that the two allow."""
    return Estimate(value=own.value / baseline.value, low=own.low / baseline.high, high=own.high / baseline.low)
