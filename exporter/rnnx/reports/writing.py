"""Writing a report in the formats that were asked for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rnnx.artifacts import staged
from rnnx.errors import OutputError
from rnnx.extras import require
from rnnx.verification_report import VerificationReport

PACKAGES = {"html": ("jinja2", "altair", "vl_convert"), "junit": ("junitparser",)}
"""What a format needs besides the base; all of them come with `rnnx[report]`."""


def check_writable(paths: Mapping[str, Path | None], inputs: Sequence[Path | None] = ()) -> None:
    """Find out before a long verification what would keep its report from being written, or what it would overwrite.

    Raises:
        OutputError: a folder that is missing, a file's place taken by a folder, or a path that is one of the `inputs`
            or another report's.
        MissingExtraError: a package that the format needs is not installed.
    """
    taken = {path.resolve(): "a file that is read" for path in inputs if path is not None}
    for kind, path in paths.items():
        if path is None:
            continue
        if path.resolve() in taken:
            raise OutputError(
                f"--{kind} {path}",
                got=taken[path.resolve()],
                expected="a file of its own",
                remedy="choose another name",
            )
        taken[path.resolve()] = "the file of another report"
        if not path.parent.is_dir() or path.is_dir():
            raise OutputError(
                f"--{kind} {path}",
                got="a folder of that name" if path.is_dir() else "no such folder",
                expected="a file in a folder that exists",
                remedy="choose another name" if path.is_dir() else f"create it: mkdir -p {path.parent}",
            )
        for package in PACKAGES.get(kind, ()):
            require(package, extra="report", purpose=f"writing --{kind}")


def write_reports(report: VerificationReport, paths: Mapping[str, Path | None]) -> None:
    """Write the report as JSON, HTML and JUnit XML, each file whole or not at all.

    Raises:
        OutputError: a file could not be written.
    """
    for kind, path in paths.items():
        if path is not None:
            with staged(path) as stage:
                (stage / path.name).write_text(_text(report, kind), encoding="utf-8")


def _text(report: VerificationReport, kind: str) -> str:
    if kind == "html":
        from rnnx.reports.html import html_from_report

        return html_from_report(report)
    if kind == "junit":
        from rnnx.reports.junit import junit_from_report

        return junit_from_report(report)
    from rnnx.reports.json_report import text_from_report

    return text_from_report(report)
