"""How a verification looks: one table of parity, one of latency, and lines that say what they stand on."""

import math
from collections.abc import Iterator

import click
from rich.text import Text

from rnnx.cli.render import print_table
from rnnx.parity import ParityRow
from rnnx.timing.figures import LatencyReport
from rnnx.verification_report import VerificationReport

_COLORS = {"pass": "green", "fail": "bold red", "skip": "yellow"}
_NONE = "–"


def print_verification(report: VerificationReport) -> None:
    """Print the tables and the verdict on stdout."""
    columns = (
        "backend", "device", "output", ">max error", ">mean error", f">{report.yardstick} float32", ">ratio", ">limit",
        "worst case", "",
    )  # fmt: skip
    print_table(f"parity of {report.model}", columns, (line for row in report.parity.rows for line in _parity(row)))
    for line in _parity_notes(report):
        click.echo(line)
    if report.latency and (report.latency.rows or report.latency.notes):
        _print_latency(report.latency)
    click.echo(
        click.style("PASS" if report else "FAIL", fg="green" if report else "red", bold=True) + _coverage(report)
    )


def _coverage(report: VerificationReport) -> str:
    """Which rows the verdict is about, and which it is not."""
    rows = report.parity.rows
    ran = ", ".join(row.backend for row in rows if row.outputs) or "nothing"
    left_out = ", ".join(row.backend for row in rows if not row.outputs)
    return f": {ran} compared" + (f"; NOT verified: {left_out}" if left_out else "")


def _parity(row: ParityRow) -> Iterator[tuple[object, ...]]:
    if not row.outputs:
        yield row.backend, _NONE, *[""] * 7, _status(row.status)
    for index, output in enumerate(row.outputs):
        backend = ("", "") if index else (row.backend, row.device)
        errors = (_error(output.max_error), _error(output.mean_error), _error(output.float32_error))
        ratio = _NONE if output.ratio is None or math.isinf(output.ratio) else f"{output.ratio:.1f}"
        status = _status("pass" if output else "fail")
        yield *backend, output.output, *errors, ratio, _error(output.limit), output.worst_case, status


def _parity_notes(report: VerificationReport) -> Iterator[str]:
    for row in report.parity.rows:
        if row.reason:
            yield f"{row.status} {row.backend}: {row.reason.removeprefix(f'backend {row.backend}: ')}"
        if row.uncovered and row.outputs:
            yield f"note {row.backend}: not covered by the profile: {', '.join(row.uncovered)}"
    if not any(row.outputs and not row.backend.startswith("pytorch") for row in report.parity.rows):
        yield "fail: no backend ran the model, so nothing was verified"
    yield f"truth: {report.truth}; {len(report.cases)} cases: {', '.join(report.cases)}"
    for precision, tolerance in report.tolerances.items():
        yield f"limit, {precision}: {tolerance.rule}"
    yield "versions: " + ", ".join(f"{name} {number}" for name, number in report.versions.items())


def _print_latency(latency: LatencyReport) -> None:
    shape = ", ".join(f"{dim}={size}" for dim, size in latency.sizes.items())
    threads = f"{latency.threads} CPU thread{'s' if latency.threads > 1 else ''}"
    columns = ("backend", "device", ">p50 ms", ">p90 ms", ">p99 ms", ">steps/s", ">× PyTorch CPU", ">calls")
    rows = (
        (
            row.backend, row.device, f"{row.p50_ms.value:.3f}", f"{row.p90_ms.value:.3f}", f"{row.p99_ms.value:.3f}",
            f"{row.steps_per_second:,.0f}", _NONE if row.ratio is None else f"{row.ratio.value:.2f}", row.calls,
        )
        for row in latency.rows
    )  # fmt: skip
    print_table(f"latency at {shape}, {threads}", columns, rows)
    for note in latency.notes:
        click.echo(f"note {note}")


def _error(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else _NONE


def _status(status: str) -> Text:
    return Text(status.upper(), style=_COLORS[status])
