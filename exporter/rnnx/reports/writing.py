"""Writing a report in the formats that were asked for."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from rnnx.extras import require
from rnnx.reports.outputs import Output, opened_outputs
from rnnx.reports.verification_report import VerificationReport

PACKAGES = {"html": ("jinja2", "altair", "vl_convert"), "junit": ("junitparser",)}
"""What a format needs besides the base; all of them come with `rnnx[report]`."""


def require_packages(kinds: Iterable[str]) -> None:
    """Find out before a long verification whether its report can be written in these formats.

    Raises:
        MissingExtraError: a package that a format needs is not installed.
    """
    for kind in kinds:
        for package in PACKAGES.get(kind, ()):
            require(package, extra="report", purpose=f"writing --{kind}")


def write_reports(report: VerificationReport, paths: Mapping[str, Path | None]) -> None:
    """Write the report as JSON, HTML and JUnit XML, each file whole or not at all.

    Raises:
        OutputError: a file could not be written.
    """
    with opened_outputs(paths) as outputs:
        write_outputs(report, outputs)


def write_outputs(report: VerificationReport, outputs: Mapping[str, Output]) -> None:
    """Write the report to what was opened for its formats; raises as `write_reports`."""
    for kind, output in outputs.items():
        output.write(_text(report, kind))


def _text(report: VerificationReport, kind: str) -> str:
    if kind == "html":
        from rnnx.reports.html import html_from_report

        return html_from_report(report)
    if kind == "junit":
        from rnnx.reports.junit import junit_from_report

        return junit_from_report(report)
    from rnnx.reports.json_report import text_from_report

    return text_from_report(report)
