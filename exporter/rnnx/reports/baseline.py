"""An earlier report, read to hold a new verification against it."""

import json
from pathlib import Path

from rnnx.errors import ReportError
from rnnx.reports.json_report import report_from_json
from rnnx.reports.plain_data import LARGEST_REPORT
from rnnx.reports.verification_report import VerificationReport
from rnnx_runtime.files.regular_file import read_regular


def read_baseline(path: Path) -> VerificationReport:
    """Read what `rnnx verify --json` wrote.

    Raises:
        ReportError: missing, damaged, of another kind or of another schema.
    """
    subject = f"baseline {path}"
    try:
        data = json.loads(read_regular(path, LARGEST_REPORT).decode(), parse_constant=_refuse_constant)
    except OSError as error:
        got = error.strerror or str(error)
        raise ReportError(subject, got=got, expected="a readable file", remedy="check the path") from None
    except (ValueError, RecursionError) as error:  # text that is no UTF-8 is a ValueError too
        raise ReportError(
            subject,
            got=f"no JSON ({error})",
            expected="a report of rnnx verify",
            remedy="verify again with --json, or give a copy that is whole",
        ) from None
    return report_from_json(data, subject)


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


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")
