"""How the property checks and the drift look."""

from collections.abc import Iterator, Sequence

import click
from rich.text import Text

from rnnx.cli.render import print_paragraph, print_table
from rnnx.parity.results import CHECK_NAMES, CheckName, CheckResult, DriftCurve

_NONE = "–"
_STYLES = {"pass": "green", "fail": "bold red", "skip": "yellow"}


def print_checks(checks: Sequence[CheckResult]) -> None:
    """A row for each backend and a column for each check, and below them what failed and why some were skipped."""
    if not checks:
        return
    cells = {(check.backend, check.check): _cell(check) for check in checks}
    backends = dict.fromkeys(check.backend for check in checks)
    rows = [(name, *(cells.get((name, check), _NONE) for check in CHECK_NAMES)) for name in backends]
    print_table("checks: the largest difference between values that ought to be equal", ("backend", *CHECK_NAMES), rows)
    for check in checks:
        if check.status == "fail":
            print_paragraph(check.detail, label=f"fail {check.backend} {check.check}:", color="red")
    for (name, detail), backends_of in _skips(checks).items():
        concerned = "" if len(backends_of) == len(backends) else f"{', '.join(backends_of)}: "
        print_paragraph(concerned + detail, label=f"skip {name}:", color="yellow")
    limits = dict.fromkeys(f"{check.limit:.1e}" for check in checks if check.limit is not None)
    print_paragraph(f"bitwise: no bit differs; otherwise at most {' or '.join(limits) or _NONE}", label="limit:")
    click.echo()


def _cell(check: CheckResult) -> Text:
    passed = "bitwise" if check.bitwise else "pass" if check.max_difference is None else f"{check.max_difference:.1e}"
    return Text(passed if check.status == "pass" else check.status.upper(), style=_STYLES[check.status])


def _skips(checks: Sequence[CheckResult]) -> dict[tuple[CheckName, str], list[str]]:
    """The backends that skipped a check for one reason."""
    found: dict[tuple[CheckName, str], list[str]] = {}
    for check in checks:
        if check.status == "skip":
            found.setdefault((check.check, check.detail), []).append(check.backend)
    return found


def print_drift(curves: Sequence[DriftCurve]) -> None:
    """A line for each curve that was measured, and below the table why the others were not."""
    if not curves:
        return
    columns = ("backend", ">steps", ">worst", ">at step", ">float32 worst", ">slope/step", ">limit", "")
    measured = [curve for curve in curves if curve.at]
    if measured:
        print_table("drift: errors while the state is fed back", columns, [tuple(_drift(curve)) for curve in measured])
    reasons: dict[tuple[str, str], list[str]] = {}
    for curve in curves:
        if curve.reason:
            reasons.setdefault((curve.status, curve.reason), []).append(curve.backend)
    for (status, reason), backends in reasons.items():
        concerned = "" if len(backends) == len(curves) else f"{', '.join(backends)}: "
        print_paragraph(concerned + reason, label=f"{status} drift:", color="red" if status == "fail" else "yellow")
    click.echo()


def _drift(curve: DriftCurve) -> Iterator[object]:
    yield from (curve.backend, f"{curve.steps:,}", f"{curve.worst_error:.1e}", f"{curve.worst_step:,}")
    yield f"{max(curve.float32_errors, default=0.0):.1e}"
    yield from (f"{curve.slope_per_step:+.0e}", f"{curve.limit:.1e}")
    yield Text(curve.status.upper(), style=_STYLES[curve.status])
