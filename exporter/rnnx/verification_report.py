"""What a verification found, as a value and as a JSON file."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnx.artifacts import staged
from rnnx.latency import LatencyReport
from rnnx.parity import ParityReport
from rnnx.tolerances import Tolerance


@dataclass(frozen=True, kw_only=True)
class VerificationReport:
    """Parity decides the verdict, `bool(report)`; latency (None where not asked for) never does.

    `truth` says what errors are measured against, `yardstick` whose float32 errors stand beside them, `tolerances` the
    table's line for each precision that ran.
    """

    model: str
    parity: ParityReport
    latency: LatencyReport | None
    truth: str
    yardstick: str
    cases: tuple[str, ...]
    tolerances: Mapping[str, Tolerance]
    versions: Mapping[str, str]

    def __bool__(self) -> bool:
        return bool(self.parity)


def json_from_report(report: VerificationReport) -> dict[str, Any]:
    """The report as plain JSON data, with each verdict and ratio; an error that is no finite number is null."""
    data: dict[str, Any] = {"passed": bool(report), **dataclasses.asdict(report)}
    for row, plain_row in zip(report.parity.rows, data["parity"]["rows"], strict=True):
        for output, plain in zip(row.outputs, plain_row["outputs"], strict=True):
            plain |= {"ratio": output.ratio, "passed": bool(output)}
    finite: dict[str, Any] = _finite(data)
    return finite


def write_report(report: VerificationReport, path: Path) -> None:
    """Write the report as a JSON file, whole or not at all.

    Raises:
        OutputError: the file could not be written.
    """
    text = json.dumps(json_from_report(report), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with staged(path) as stage:
        (stage / path.name).write_text(text, encoding="utf-8")


def _finite(value: Any) -> Any:
    """JSON has neither NaN nor Infinity."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
