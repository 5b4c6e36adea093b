"""How the latency of a verification looks: every figure with its interval, and what it was measured under."""

from collections.abc import Sequence

import click

from rnnx.cli.render import print_paragraph, print_table
from rnnx.timing.figures import Estimate, LatencyReport, LatencyRow, StartUpRow

_NONE = "–"


def print_latency(latency: LatencyReport) -> None:
    """Print the times of all backends at one shape, and of their start-up where that was measured."""
    if latency.rows:
        _print_times(latency)
    if latency.start_up:
        _print_start_up(latency.start_up)
    for note in latency.notes:
        print_paragraph(note, label="note:")
    click.echo()


def _print_times(latency: LatencyReport) -> None:
    shape = ", ".join(f"{dim}={size}" for dim, size in latency.sizes.items())
    threads = f"{latency.threads} CPU thread{'s' if latency.threads > 1 else ''}"
    columns = ("backend", ">p50 ms [95 %]", ">p90 ms", ">p99 ms", ">max ms", ">steps/s", ">× PyTorch [95 %]")
    print_table(f"latency at {shape}, {threads}, host to host", columns, map(_times, latency.rows))
    for row in latency.rows:
        print_paragraph(_conditions(row), label=f"{row.backend} on {row.device}:")


def _times(row: LatencyRow) -> tuple[object, ...]:
    return (
        row.backend,
        _interval(row.p50_ms, 3),
        f"{row.p90_ms.value:.3f}",
        f"{row.p99_ms.value:.3f}",
        f"{row.max_ms:.3f}",
        f"{row.steps_per_second:,.0f}",
        _NONE if row.ratio is None else _interval(row.ratio, 2),
    )


def _conditions(row: LatencyRow) -> str:
    calls = f"{row.calls:,} calls in {row.rounds} rounds after {row.warm_up_calls:,} to warm up"
    resident = f"; device-resident p50 {_interval(row.device_p50_ms, 3)} ms" if row.device_p50_ms else ""
    stated = "".join(f"; {name} {value}" for name, value in row.conditions.items())
    return f"{calls}{'' if row.stable else ', NOT stable by then'}{resident}{stated}"


def _print_start_up(rows: Sequence[StartUpRow]) -> None:
    columns = ("backend", ">import s", ">load s", ">first call ms", ">peak MiB")
    figures = [
        (row.backend, f"{row.import_s:.2f}", f"{row.load_s:.3f}", f"{row.first_call_ms:.2f}", f"{row.peak_mib:.0f}")
        for row in rows
        if not row.problem
    ]
    click.echo()
    print_table("start-up of a fresh process", columns, figures)
    for row in rows:
        if row.problem:
            print_paragraph(row.problem.removeprefix(f"backend {row.backend}: "), label=f"not timed {row.backend}:")


def _interval(estimate: Estimate, digits: int) -> str:
    value, low, high = (f"{number:.{digits}f}" for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"
