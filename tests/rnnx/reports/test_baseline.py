from pathlib import Path

import pytest
from tests.rnnx.reports.made_reports import passing_report

from rnnx.errors import ReportError
from rnnx.reports.baseline import read_baseline, refuse_other_model
from rnnx.reports.json_report import text_from_report


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(text_from_report(passing_report()), encoding="utf-8")
    assert read_baseline(path) == passing_report()


CORRUPT = {
    "empty": b"",
    "cut-short": text_from_report(passing_report()).encode()[:2000],
    "no-json": b"parity of model.onnx",
    "no-text": b"\xff\xfe\x00binary",
    "deeper-than-any-report": b"[" * 100_000,
    "nan": text_from_report(passing_report()).replace("2e-07", "NaN").encode(),
}


@pytest.mark.parametrize("data", CORRUPT.values(), ids=CORRUPT)
def test_a_file_that_is_no_json_is_named_with_a_remedy(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(data)
    with pytest.raises(ReportError, match=r"baseline .*report\.json: got no JSON \(.*verify again with --json"):
        read_baseline(path)


def test_json_of_something_else_is_named_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text('{"name": "package"}')
    with pytest.raises(ReportError, match=r"baseline .*: got schema None, expected schema 2; verify again"):
        read_baseline(path)


@pytest.mark.parametrize(("name", "reason"), [("missing.json", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ReportError, match=f"got {reason}.*; check the path"):
        read_baseline(tmp_path / name)


def test_another_export_of_the_same_weights_is_the_same_model() -> None:
    refuse_other_model(passing_report(), model_sha256="00" * 32, weights_sha256="cd" * 32)


def test_other_weights_are_refused() -> None:
    message = r"baseline of models/encoder.onnx: got a report of weights with sha256 cdcd.*, expected one of .* 1234"
    with pytest.raises(ReportError, match=message):
        refuse_other_model(passing_report(), model_sha256="ab" * 32, weights_sha256="1234" * 16)


def test_where_weights_are_not_known_the_file_decides() -> None:
    baseline = passing_report(weights_sha256="")
    refuse_other_model(baseline, model_sha256="ab" * 32, weights_sha256="1234" * 16)
    with pytest.raises(ReportError, match="got a report of a model with sha256 abab"):
        refuse_other_model(baseline, model_sha256="00" * 32, weights_sha256="cd" * 32)
