"""A bench report as JSON data, and back."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from rnnx.errors import ReportError
from rnnx.reports.plain_data import MalformedError, PlainForm, plain_from_value, value_from_plain
from rnnx.reports.report_files import report_data
from rnnx.timing.figures import BenchReport, Estimate

SCHEMA = 1

KIND = "bench"

_FORM = PlainForm(derived={}, unbounded=())


def json_from_bench(report: BenchReport) -> dict[str, Any]:
    """The report as plain JSON data, keys in a fixed order."""
    return {"schema": SCHEMA, "kind": KIND, **plain_from_value(report, _FORM)}


def text_from_bench(report: BenchReport) -> str:
    """The report as JSON text."""
    return json.dumps(json_from_bench(report), indent=2, allow_nan=False) + "\n"


def bench_from_json(data: object, subject: str) -> BenchReport:
    """The report in plain JSON data; `subject` names the file in errors.

    Raises:
        ReportError: another kind of file, another schema, or a value missing, unknown or of the wrong type.
    """
    if not isinstance(data, dict) or data.get("kind") != KIND:
        got = f"kind {data.get('kind')!r}" if isinstance(data, dict) else type(data).__name__
        raise ReportError(subject, got=got, expected="a report of rnnx bench", remedy="give a file of bench --json")
    if data.get("schema") != SCHEMA:
        raise ReportError(
            subject,
            got=f"schema {data.get('schema')!r}",
            expected=f"schema {SCHEMA}",
            remedy="measure again with this version of rnnx",
        )
    values = {key: value for key, value in data.items() if key not in ("schema", "kind")}
    try:
        report: BenchReport = value_from_plain(BenchReport, values, "report", _FORM)
        _check_estimates(report)
    except MalformedError as error:
        raise ReportError(subject, got=str(error), expected="a whole report", remedy="measure again") from None
    return report


def read_bench(path: Path) -> BenchReport:
    """Read what `text_from_bench` gave.

    Raises:
        ReportError: missing, damaged, of another kind or schema.
    """
    subject = f"report {path}"
    data = report_data(path, subject, expected="a report of rnnx bench", remedy="measure again")
    return bench_from_json(data, subject)


def _check_estimates(value: Any) -> None:
    """An interval that holds no figure, or a figure of no time, would be a comparison's division by 0."""
    if isinstance(value, Estimate):
        if not 0 < value.low <= value.value <= value.high:
            raise MalformedError(f"{value.value:g} within {value.low:g} and {value.high:g}")
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _check_estimates(getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            _check_estimates(item)
