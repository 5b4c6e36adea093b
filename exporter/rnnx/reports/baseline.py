"""An earlier report, read to hold a new verification against it."""

from pathlib import Path

from rnnx.errors import ReportError
from rnnx.reports.json_report import report_from_json
from rnnx.reports.report_files import report_data
from rnnx.reports.verification_report import VerificationReport


def read_baseline(path: Path) -> VerificationReport:
    """Read what `rnnx verify --json` wrote.

    Raises:
        ReportError: missing, damaged, of another kind or of another schema.
    """
    subject = f"baseline {path}"
    remedy = "verify again with --json, or give a copy that is whole"
    return report_from_json(report_data(path, subject, expected="a report of rnnx verify", remedy=remedy), subject)


def refuse_other_model(baseline: VerificationReport, *, model_sha256: str, weights_sha256: str) -> None:
    """Refuse a baseline that another model's figures are in; another export of the same weights may differ in bytes.

    Raises:
        ReportError: it is of other weights, or of another file where the weights are not known.
    """
    known = bool(weights_sha256 and baseline.weights_sha256)
    what = "weights" if known else "a model"
    was, now = (baseline.weights_sha256, weights_sha256) if known else (baseline.model_sha256, model_sha256)
    if was != now:
        raise ReportError(
            f"baseline of {baseline.model}",
            got=f"a report of {what} with sha256 {was[:12]}…",
            expected=f"one of {what} with sha256 {now[:12]}…",
            remedy="give a report of this model",
        )
