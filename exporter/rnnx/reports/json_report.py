"""A verification report as JSON, as `docs/report-schema.json` describes it, and back."""

import json
import math
from typing import Any

from rnnx.diagnosis.diagnosis import Location
from rnnx.errors import ReportError
from rnnx.parity.parity import CaseParity, OutputParity, ParityRow
from rnnx.parity.results import CheckResult, DriftCurve
from rnnx.parity.tolerances import Tolerance
from rnnx.reports.plain_data import MalformedError, PlainForm, plain_from_value, value_from_plain
from rnnx.reports.verification_report import VerificationReport
from rnnx.timing.figures import Estimate, LatencyReport

SCHEMA = 2
"""Raised with every change that a reader of version N could trip over; reports before 2 carry no number."""

KIND = "verification"

FORM = PlainForm(
    derived={
        VerificationReport: {"passed": bool},
        ParityRow: {"cases": int},
        OutputParity: {"ratio": float | None},
        CaseParity: {"passed": bool, "ratio": float | None},
        Location: {"text": str},
        Tolerance: {"rule": str},
    },
    unbounded=(OutputParity, CaseParity, CheckResult, DriftCurve),
)

_REMEDY = "verify again with --json and this version of rnnx"


def json_from_report(report: VerificationReport) -> dict[str, Any]:
    """The report as plain JSON data, keys in a fixed order; what is not finite is null."""
    return {"schema": SCHEMA, "kind": KIND, **plain_from_value(report, FORM)}


def text_from_report(report: VerificationReport) -> str:
    """The report as JSON text."""
    return json.dumps(json_from_report(report), indent=2, allow_nan=False) + "\n"


def report_from_json(data: object, subject: str) -> VerificationReport:
    """The report in plain JSON data; `subject` names the file in errors.

    Raises:
        ReportError: data of another kind, an older or newer schema, or a value missing, unknown or of the wrong type.
    """
    if not isinstance(data, dict):
        raise _refused(subject, f"JSON that is {type(data).__name__}, no object")
    if data.get("kind", KIND) != KIND:
        raise _refused(subject, f"a report of kind {data['kind']!r:.40}")
    if "schema" not in data and "parity" in data:
        raise _refused(subject, "a report without a schema number, of an older rnnx", f"schema {SCHEMA}")
    if data.get("schema") != SCHEMA:
        raise _refused(subject, f"schema {data.get('schema')!r:.40}", f"schema {SCHEMA}")
    values = {key: value for key, value in data.items() if key not in ("schema", "kind")}
    try:
        report: VerificationReport = value_from_plain(VerificationReport, values, "report", FORM)
        _check_intervals(report.latency)
    except MalformedError as error:
        raise _refused(subject, str(error), "a whole report") from None
    return report


def _check_intervals(latency: LatencyReport | None) -> None:
    for row in latency.rows if latency else ():
        for name in ("p50_ms", "p90_ms", "p99_ms", "device_p50_ms", "ratio"):
            found: Estimate | None = getattr(row, name)
            if found and not 0 < found.low <= found.value <= found.high < math.inf:
                text = f"{found.value:g} in {found.low:g}..{found.high:g}"
                raise MalformedError(f"{text} for report.latency {row.backend} {name}")


def _refused(subject: str, got: str, expected: str = "a report of rnnx verify") -> ReportError:
    return ReportError(subject, got=got, expected=expected, remedy=_REMEDY)
