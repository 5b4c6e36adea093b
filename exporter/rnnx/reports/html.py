"""A verification report as one HTML page that needs no network: its style, its charts and its data are inside."""

import base64
import hashlib
import math
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import PurePath
from typing import Any

from rnnx.extras import require
from rnnx.parity.results import CHECK_NAMES
from rnnx.reports.charts import Chart, drift_chart, latency_chart
from rnnx.reports.diagnosis_groups import by_cause
from rnnx.reports.heat_map import BEYOND, LEVELS, heat_map_of, share_text
from rnnx.reports.json_report import json_from_report
from rnnx.reports.regression_gate import RULE
from rnnx.reports.verification_report import VerificationReport
from rnnx.runners.row_names import runs_the_model
from rnnx_runtime.printable import shown_lines

_PURPOSE = "writing --html"
_NONE = "–"
_LONGEST_LINE = 10_000


def html_from_report(report: VerificationReport) -> str:
    """The page. Every text of the report is escaped; no script but the page's own two may run, and nothing is fetched.

    Raises:
        MissingExtraError: Jinja2, Altair or vl-convert is not installed.
    """
    jinja2 = require("jinja2", extra="report", purpose=_PURPOSE)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rnnx.reports"),
        autoescape=True,
        finalize=_shown,  # of every value but what is markup already
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}  # and keys in the report's own order
    environment.filters |= _FILTERS
    text: str = environment.get_template("page.html.jinja").render(_context(report))
    return text


def _shown(value: Any) -> Any:
    """Text as a page may have it: no override of the reading direction, no lone surrogate, and not endless."""
    return shown_lines(value, _LONGEST_LINE) if type(value) is str else value


def _context(report: VerificationReport) -> dict[str, Any]:
    charts = {
        "drift": drift_chart(report.drift, report.yardstick),
        "latency": latency_chart(report.latency),
    }
    scripts = _scripts(charts)
    return {
        "report": report,
        "name": PurePath(report.model.replace("\\", "/")).name,
        "rows": report.parity.rows,
        "ran": [row for row in report.parity.rows if row.results],
        "proved": any(row.results and runs_the_model(row.backend) for row in report.parity.rows),
        "largest_share": _largest_share(report),
        "failures": [(row, result) for row in report.parity.rows for result in row.failures],
        "heat_map": heat_map_of(report.parity),
        "levels": {**LEVELS, **BEYOND},
        "checks": {(check.backend, check.check): check for check in report.checks},
        "check_names": CHECK_NAMES,
        "diagnoses": by_cause(report.diagnoses),
        "charts": charts,
        "rule": RULE,
        "data": json_from_report(report),
        "style": _template("page.css"),
        "scripts": scripts,
        "script_hashes": " ".join(f"'sha256-{_sha256(script)}'" for script in scripts),
    }


def _largest_share(report: VerificationReport) -> str:
    """How near the error that is nearest to its limit, or furthest beyond it, comes."""
    share = max((result.share for row in report.parity.rows for result in row.results), default=0.0)
    if math.isinf(share):
        return "no result in a case"
    return f"{share_text(share)} of its limit" if share <= 1 else f"{share_text(share)} its limit"


def _scripts(charts: Mapping[str, Chart | None]) -> tuple[str, ...]:
    """The page's own script, and before it the charts' libraries where there is a chart."""
    own = _template("page.js")
    if not any(charts.values()):
        return (own,)
    bundle: str = require("vl_convert", extra="report", purpose=_PURPOSE).javascript_bundle()
    # Only what would end a script: a < before a / is also the end of a regular expression in it.
    return (bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--"), own)


def _template(name: str) -> str:
    return resources.files("rnnx.reports").joinpath("templates", name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    """A hash as a content security policy takes it, https://www.w3.org/TR/CSP3/#grammardef-hash-source."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _error(value: float | None) -> str:
    return f"{value:.1e}" if value is not None and math.isfinite(value) else _NONE


def _ratio(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return _NONE
    return f"{value:.2f}" if value < 1000 else f"{value:.0e}"


def _exact(value: float | None) -> str:
    return repr(value) if value is not None and math.isfinite(value) else ""


def _milliseconds(value: float) -> str:
    return f"{value:.4g}" if value < 1000 else f"{value:,.0f}"


_FILTERS: dict[str, Callable[..., str]] = {
    "error": _error,
    "ratio": _ratio,
    "share": share_text,
    "exact": _exact,
    "ms": _milliseconds,
    "without": lambda text, prefix: text.removeprefix(prefix),
}
