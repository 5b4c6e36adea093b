"""`rnnx doctor`."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnx.cli.render import print_json, print_line, print_table
from rnnx_runtime.printable import shown

if TYPE_CHECKING:
    from rnnx.linting.findings import DoctorReport

_COLORS = {"error": "bold red", "warning": "yellow", "info": "cyan"}

_LONGEST_FINDING = 4_000
"""Characters of a message: a rule's longest and a few names."""

_MOST_OTHERS = 8
"""Further nodes of one kind that a terminal shows."""


@click.command("doctor", short_help="What is wrong with any exporter's ONNX file.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Fail on warnings, too.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(path: Path, strict: bool, as_json: bool) -> None:
    """Look for what goes wrong with recurrences in PATH, an .onnx from any exporter.

    Reads the graph alone: no PyTorch, no engine and no GPU. Exit code 1 when there is an error.
    """
    from rnnx.linting.examination import doctor

    report = doctor(path)
    passed = bool(report) and not (strict and any(own.severity == "warning" for own in report.findings))
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        _print(report, passed)
    sys.exit(0 if passed else 1)


def _print(report: "DoctorReport", passed: bool) -> None:
    counts = ", ".join(f"{count} {operator}" for operator, count in report.recurrences.items()) or "no recurrent node"
    print_line(f"{report.path}: {counts}; opset {report.opset}, written by {report.producer}")
    if report.findings:
        _print_findings(report)
    click.echo(_verdict(report, passed))


def _print_findings(report: "DoctorReport") -> None:
    """A short table, and below it a paragraph for each finding: a message in a cell would be a column of two words."""
    from rich.text import Text

    rows = [
        (number, Text(own.severity, style=_COLORS[own.severity]), own.rule, ", ".join(own.backends) or "every backend")
        for number, own in enumerate(report.findings, 1)
    ]
    print_table("", (">#", "severity", "rule", "concerns"), rows)
    for number, own in enumerate(report.findings, 1):
        others = [("", f"also {text}") for text in own.others[:_MOST_OTHERS]]
        if len(own.others) > _MOST_OTHERS:
            others.append(("", f"and {len(own.others) - _MOST_OTHERS} more, which --json lists"))
        for label, text in ((f"{number:>2}", f"{own.node}: {own.message}"), *others, ("", f"fix: {own.fix}")):
            one_line = shown(text, _LONGEST_FINDING)
            click.echo(click.wrap_text(one_line, 98, initial_indent=f"{label:>3}  ", subsequent_indent="     "))
    click.echo()


def _verdict(report: "DoctorReport", passed: bool) -> str:
    counts = {name: sum(own.severity == name for own in report.findings) for name in _COLORS}
    shown = ", ".join(f"{count} {name}{'s' if count != 1 and name != 'info' else ''}" for name, count in counts.items())
    word = click.style("PASS" if passed else "FAIL", fg="green" if passed else "red", bold=True)
    return f"{word}: {shown}"
