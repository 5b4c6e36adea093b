"""How a verification looks: the verdict, a table for each kind of figure, and lines that say what they stand on.

Everything fits 100 columns and reads without colour, for a log file has neither more nor any.
"""

import math
from collections.abc import Iterator, Sequence

import click
from rich.text import Text

from rnnx.cli.check_tables import print_checks, print_drift
from rnnx.cli.latency_tables import print_latency
from rnnx.cli.render import print_paragraph, print_table
from rnnx.diagnosis.diagnosis import Diagnosis
from rnnx.linting.findings import Finding
from rnnx.parity.parity import CaseParity, ParityRow
from rnnx.reports.diagnosis_groups import by_cause
from rnnx.reports.regression_gate import RULE
from rnnx.reports.verification_report import VerificationReport
from rnnx.runners.row_names import runs_the_model
from rnnx.verifying.assumptions import NONLINEARITY

COLORS = {"pass": "green", "fail": "red", "skip": "yellow", "error": "red", "warning": "yellow", "info": "cyan"}
MOST_FAILURES = 12
"""Failing cases that are listed; the other formats have all."""

MOST_PROBLEMS = 2
"""Messages of one backend that are shown besides the reason of its row: they often differ in a size alone."""

_NONE = "–"


def print_verification(report: VerificationReport) -> None:
    """Print the verdict, the tables, what they stand on, and the verdict with what it is about, on stdout."""
    print_paragraph(report.model, label="PASS" if report else "FAIL", color="green" if report else "red")
    click.echo()
    _print_parity(report)
    _print_failures(report)
    for backends, diagnosis in by_cause(report.diagnoses):
        _print_diagnosis(backends, diagnosis)
    print_checks(report.checks)
    print_drift(report.drift)
    _print_findings(report.findings)
    if report.latency:
        print_latency(report.latency)
    _print_regressions(report)
    _print_footing(report)
    verdict = "PASS" if report else "FAIL"
    print_paragraph(_coverage(report), label=f"{verdict}:", color="green" if report else "red")


def status_text(status: str) -> Text:
    """A status in capitals, for a log without colour."""
    return Text(status.upper(), style=f"bold {COLORS[status]}")


def error_text(value: float | None) -> str:
    """An error with two digits; a dash where there is none or it is not finite."""
    return f"{value:.1e}" if value is not None and math.isfinite(value) else _NONE


def ratio_text(value: float | None) -> str:
    """A ratio to one digit, or its magnitude where it is large; a dash where there is none or it is not finite."""
    if value is None or not math.isfinite(value):
        return _NONE
    return f"{value:.1f}" if value < 1000 else f"{value:.0e}"


def _print_parity(report: VerificationReport) -> None:
    columns = ("backend", "output", ">max", ">p99", ">ratio", ">of its limit", "~in case", "")
    rows = [line for row in report.parity.rows for line in _parity(row)]
    title = f"parity: largest and p99 absolute error; ratio: over {report.yardstick}'s own in float32"
    print_table(title, columns, rows)
    for row in report.parity.rows:
        if row.reason:
            reason = row.reason.removeprefix(f"backend {row.backend}: ")
            print_paragraph(reason, label=f"{row.status} {row.backend}:", color=COLORS[row.status])
        if row.uncovered and row.outputs:
            print_paragraph(", ".join(row.uncovered), label=f"note {row.backend}: not covered by the profile:")
    ran = [f"{row.backend} ({row.device}, {row.precision})" for row in report.parity.rows if row.results]
    print_paragraph("; ".join(ran) or "nothing", label="ran:")
    if not any(row.results and runs_the_model(row.backend) for row in report.parity.rows):
        print_paragraph("no backend ran the model, so nothing was verified", label="fail:", color="red")
    click.echo()


def _parity(row: ParityRow) -> Iterator[tuple[object, ...]]:
    if not row.outputs:
        yield row.backend, _NONE, *[""] * 5, status_text(row.status)
    for output in row.outputs:
        errors = (error_text(output.max_error), error_text(output.p99_error))
        worst = max(result.share for result in row.results if result.output == output.output)
        status = status_text("pass" if output else "fail")
        yield row.backend, output.output, *errors, ratio_text(output.ratio), _share(worst), output.worst_case, status


def _share(value: float) -> str:
    """How much of a limit was used; what is beyond it as a multiple."""
    if math.isinf(value):
        return _NONE
    return f"{value:.0%}" if value <= 1 else f"{ratio_text(value)} ×"


def _print_failures(report: VerificationReport) -> None:
    """The cases that did not pass, of each backend in turn, and below them the messages that found no room there."""
    failures = [(row.backend, result) for row in report.parity.rows for result in row.failures]
    if not failures:
        return
    columns = ("backend", "output", "~case", ">max", ">limit", ">times limit")
    print_table("failing cases", columns, [_failure(*failure) for failure in failures[:MOST_FAILURES]])
    if len(failures) > MOST_FAILURES:
        print_paragraph(f"and {len(failures) - MOST_FAILURES} more; --json and --html have them all")
    reasons = {row.backend: row.reason for row in report.parity.rows}
    for backend, reason in reasons.items():
        others: dict[str, CaseParity] = {}
        for own, one in failures:
            if own == backend and one.problem not in reason:
                others.setdefault(one.problem, one)
        for one in list(others.values())[:MOST_PROBLEMS]:
            print_paragraph(f"{one.output} of case {one.case}: {one.problem}", label=f"fail {backend}:", color="red")
        if len(others) > MOST_PROBLEMS:
            print_paragraph(f"and {len(others) - MOST_PROBLEMS} other messages", label=f"fail {backend}:", color="red")
    click.echo()


def _failure(backend: str, result: CaseParity) -> tuple[object, ...]:
    error = result.closeness.max_error if result.closeness else None
    times = ratio_text(result.share) if result.closeness else "no result"
    return backend, result.output, result.case, error_text(error), error_text(result.limit), times


def _print_diagnosis(backends: Sequence[str], one: Diagnosis) -> None:
    label = f"why {', '.join(backends)} fail{'s' if len(backends) == 1 else ''}:"
    print_paragraph(one.cause or "no known cause explains the values", label=label, color="red")
    lines = [("what:", one.summary)]
    lines += [("where:", one.location.text)] if one.location else []
    lines += [("node:", one.node)] if one.node else []
    lines += [("seen:", text) for text in one.evidence]
    for label, text in (*lines, ("remedy:", one.remedy)):
        print_paragraph(text, label=label, indent="  ")
    click.echo()


def _print_findings(findings: Sequence[Finding]) -> None:
    for one in findings:
        concerned = f" (on {', '.join(one.backends)})" if one.backends else ""
        label = f"doctor: {one.severity} {one.rule}:"
        print_paragraph(f"{one.node}: {one.message}{concerned}", label=label, color=COLORS[one.severity])
        print_paragraph(one.fix, label="fix:", indent="  ")
    if findings:
        click.echo()


def _print_regressions(report: VerificationReport) -> None:
    if not report.baseline:
        return
    count = len(report.regressions)
    print_paragraph(f"{count or 'nothing'} worse than {report.baseline}", label="baseline:")
    for one in report.regressions:
        label = f"worse: {one.kind}, {one.backend} {one.subject}:"
        print_paragraph(f"{one.before} before, {one.now} now", label=label, color="red", indent="  ")
    for note in report.baseline_notes:
        print_paragraph(note, label="note:", indent="  ")
    print_paragraph(RULE, label="rule:", indent="  ")
    click.echo()


def _print_footing(report: VerificationReport) -> None:
    """What the figures stand on."""
    print_paragraph(f"{report.truth}; {len(report.cases)} cases: {', '.join(report.cases)}", label="truth:")
    for precision, tolerance in report.tolerances.items():
        print_paragraph(tolerance.rule, label=f"limit, {precision}:")
    seconds = ", ".join(f"{name} {value:.2f} s" for name, value in report.seconds.items())
    print_paragraph(seconds or "not taken", label="time:")
    machine, versions = report.fingerprint.machine, report.fingerprint.versions
    print_paragraph("; ".join(f"{name} {value}" for name, value in machine.items()), label="machine:")
    print_paragraph(", ".join(f"{name} {value}" for name, value in versions.items()), label="versions:")
    click.echo()


def _coverage(report: VerificationReport) -> str:
    """Which rows the verdict is about, and which it is not."""
    rows = report.parity.rows
    ran = ", ".join(row.backend for row in rows if row.outputs) or "nothing"
    left_out = ", ".join(row.backend for row in rows if not row.outputs)
    unmapped = ", ".join(report.not_compared)
    text = f"{ran} compared" + (f"; NOT verified: {left_out}" if left_out else "")
    text += f"; outputs NOT compared: {unmapped}" if unmapped else ""
    return text + "".join(f"; NOT proved: {own.message}" for own in report.findings if own.rule == NONLINEARITY)
