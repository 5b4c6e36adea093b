"""How a bench looks: a table for each kind of figure, lines on what it stands on, and what moved."""

import math
from collections.abc import Sequence

from rich.text import Text

from rnnx.cli.render import print_line, print_table
from rnnx.timing.comparison import BenchComparison, Move
from rnnx.timing.figures import BenchReport, Estimate, JitterRow, LatencyReport, StartUpRow, ThroughputPoint

_NONE = "–"
_COLORS = {"no change": "green", "slower": "bold red", "more": "bold red", "faster": "cyan", "less": "cyan"}


def print_bench(report: BenchReport) -> None:
    """Print all figures on stdout."""
    _print_latency(report.model, report.latency)
    _print_start_up(report.latency.start_up)
    _print_jitter(report.jitter)
    for sweep in dict.fromkeys(point.sweep for point in report.throughput):
        _print_throughput(sweep, [point for point in report.throughput if point.sweep == sweep])
    for note in (*report.latency.notes, *report.notes):
        print_line(f"note {note}")
    machine, versions = report.fingerprint.machine, report.fingerprint.versions
    print_line("machine: " + "; ".join(f"{name} {value}" for name, value in machine.items()))
    print_line("versions: " + ", ".join(f"{name} {value}" for name, value in versions.items()))


def print_comparison(comparison: BenchComparison, path: str) -> None:
    """Print what was judged against an earlier report, and the verdict as the last line."""
    columns = ("backend", "figure", ">before", ">now", ">change", ">needed", "")
    print_table(f"against {path}", columns, map(_move, comparison.moves))
    for note in comparison.notes:
        print_line(f"note {note}")
    print_line(f"rule: {comparison.rule}")
    moved = ", ".join(f"{move.backend} {move.verdict}: {move.subject}" for move in comparison.moved)
    judged = len(comparison.moves)
    if not judged:
        print_line("nothing could be judged")
    else:
        print_line(f"changed: {moved}" if moved else f"no change in {judged} figure{'s' if judged > 1 else ''}")


def _print_latency(model: str, latency: LatencyReport) -> None:
    shape = ", ".join(f"{dim}={size}" for dim, size in latency.sizes.items())
    threads = f"{latency.threads} CPU thread{'s' if latency.threads > 1 else ''}"
    columns = ("backend", ">p50 ms [95 %]", ">p90 ms", ">p99 ms", ">max ms", ">device p50", ">× PyTorch [95 %]")
    rows = (
        (
            row.backend, _estimate(row.p50_ms), _ms(row.p90_ms.value), _ms(row.p99_ms.value), _ms(row.max_ms),
            _NONE if row.device_p50_ms is None else _ms(row.device_p50_ms.value),
            _NONE if row.ratio is None else _estimate(row.ratio, digits=2),
        )
        for row in latency.rows
    )  # fmt: skip
    print_table(f"latency of {model} at {shape}, {threads}, host to host", columns, rows)
    for row in latency.rows:
        stable = "" if row.stable else ", NOT stable by then"
        conditions = "".join(f"; {name} {value}" for name, value in row.conditions.items())
        calls = f"{row.calls:,} calls in {row.rounds} rounds after {row.warm_up_calls:,} to warm up"
        print_line(f"{row.backend} on {row.device}: {calls}{stable}{conditions}")


def _print_start_up(rows: Sequence[StartUpRow]) -> None:
    columns = ("backend", ">import s", ">load s", ">first call ms", ">peak MiB")
    figures = (
        (row.backend, f"{row.import_s:.2f}", f"{row.load_s:.3f}", f"{row.first_call_ms:.2f}", f"{row.peak_mib:.0f}")
        for row in rows
        if not row.problem
    )
    print_line()
    print_table("start-up of a fresh process", columns, figures)
    for row in rows:
        if row.problem:
            print_line(f"not timed {row.backend}: {row.problem.removeprefix(f'backend {row.backend}: ')}")


def _print_jitter(rows: Sequence[JitterRow]) -> None:
    if not rows:
        return
    columns = ("backend", ">p50 ms", ">p99 ms", ">p99.9 ms", ">longest ms", ">at step", ">misses")
    figures = (
        (
            row.backend, _ms(row.p50_ms), _ms(row.p99_ms), _ms(row.p999_ms), _ms(row.longest_ms),
            row.longest_at_step, row.misses,
        )
        for row in rows
    )  # fmt: skip
    print_line()
    print_table(f"streaming {rows[0].steps:,} steps against frames of {rows[0].frame_ms:g} ms", columns, figures)


def _print_throughput(sweep: str, points: Sequence[ThroughputPoint]) -> None:
    backends = list(dict.fromkeys(point.backend for point in points))
    other = f"T={points[0].time}" if sweep == "B" else f"B={points[0].batch}"
    cells = {(point.batch if sweep == "B" else point.time, point.backend): point for point in points}
    sizes = sorted({size for size, _ in cells})
    rows = ((size, *(_rate(cells.get((size, backend))) for backend in backends)) for size in sizes)
    print_line()
    print_table(f"steps/s against {sweep}, {other}", (f">{sweep}", *(f">{name}" for name in backends)), rows)
    print_line(f"* saturated: no larger {sweep} gains 5 % over it")


def _rate(point: ThroughputPoint | None) -> str:
    return "" if point is None else f"{point.steps_per_second.value:,.0f}{'*' if point.saturated else ' '}"


def _move(move: Move) -> tuple[object, ...]:
    digits = 2 if move.unit == "×" else 0 if move.unit in ("steps/s", "MiB") else 3
    values = (f"{estimate.value:,.{digits}f} {move.unit}" for estimate in (move.before, move.now))
    verdict = Text(move.verdict, style=_COLORS[move.verdict])
    return move.backend, move.subject, *values, f"{move.change:+.1%}", f"{move.threshold:.0%}", verdict


def _estimate(estimate: Estimate, digits: int | None = None) -> str:
    value, low, high = (
        _ms(number) if digits is None else f"{number:.{digits}f}"
        for number in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}]"


def _ms(value: float) -> str:
    """Four digits that count, and never more than four behind the point."""
    return f"{value:.{max(0, min(4, 3 - math.floor(math.log10(value)))) if value > 0 else 4}f}"
