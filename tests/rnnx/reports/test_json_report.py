import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator, ValidationError
from safetensors.torch import save_file
from tests.rnnx.reports.made_reports import failing_report, passing_report
from torch import nn

import rnnx
from rnnx.errors import ReportError
from rnnx.reports.json_report import json_from_report, report_from_json, text_from_report
from rnnx.reports.verification_report import VerificationReport
from rnnx.runners.verify_options import VerifyOptions
from rnnx.verifying.verification import verify

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "report-schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)

REPORTS = {"passing": passing_report(), "failing": failing_report(), "no-latency": passing_report(latency=None)}


def refuse_constant(text: str) -> None:
    raise AssertionError(f"{text} is no JSON number")


def plain(report: VerificationReport) -> Any:
    return json.loads(text_from_report(report), parse_constant=refuse_constant)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_a_report_is_what_the_schema_says(report: VerificationReport) -> None:
    VALIDATOR.validate(plain(report))


@pytest.mark.parametrize("build", [nn.LSTM, nn.GRU, nn.LSTMCell], ids=lambda build: build.__name__)
def test_a_measured_report_is_what_the_schema_says_and_is_read_back(build: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(3)
    save_file(build(5, 8).state_dict(), tmp_path / "weights.safetensors")
    rnnx.export(tmp_path / "weights.safetensors", tmp_path / "model.onnx")
    options = VerifyOptions(
        checkpoint=tmp_path / "weights.safetensors", backends=("pytorch-cpu", "ort-cpu"), latency_seconds=0.02
    )
    report = verify(tmp_path / "model.onnx", options)
    data = plain(report)
    VALIDATOR.validate(data)
    assert data["passed"] is True
    assert len(data["latency"]["rows"]) == 2
    assert report_from_json(data, "report") == report


def test_the_verdict_and_the_figures_made_of_others_are_written_too() -> None:
    data = plain(failing_report())
    assert (data["schema"], data["kind"], data["passed"]) == (2, "verification", False)
    assert [row["cases"] for row in data["parity"]["rows"]] == [3, 3, 3, 0]
    first = data["parity"]["rows"][1]["results"][0]
    assert (first["passed"], first["ratio"]) == (True, 1.0)
    assert data["parity"]["rows"][1]["outputs"][1]["ratio"] == pytest.approx(2e6)
    assert data["tolerances"]["float32"]["rule"].startswith("the larger of 4 × the float32 error")
    assert data["diagnoses"][0]["location"]["text"].startswith("output hn of case T5 B3, layer 0")


def test_what_is_not_finite_is_null_beside_its_problem() -> None:
    data = plain(failing_report())
    lost = data["parity"]["rows"][2]["results"][0]
    assert (lost["closeness"], lost["ratio"], lost["problem"]) == (None, None, "3 of 24 values are NaN or Inf")
    assert data["parity"]["rows"][2]["outputs"][0]["max_error"] is None
    assert data["parity"]["rows"][2]["outputs"][0]["ratio"] is None
    assert data["checks"][0]["max_difference"] is None


def test_what_was_not_finite_is_read_back_as_infinite_and_never_as_small() -> None:
    read = report_from_json(plain(failing_report()), "report")
    assert read.parity.rows[2].outputs[0].max_error == math.inf
    assert not read


def test_a_passing_report_is_read_back_as_it_was() -> None:
    assert report_from_json(plain(passing_report()), "report") == passing_report()


def damaged(change: Any) -> Any:
    data = copy.deepcopy(plain(failing_report()))
    change(data)
    return data


DAMAGES: dict[str, Any] = {
    "unknown-key": lambda data: data.update(extra=1),
    "unknown-key-in-a-case": lambda data: data["parity"]["rows"][0]["results"][0].update(extra=1),
    "lost-key": lambda data: data.pop("truth"),
    "lost-key-in-a-row": lambda data: data["parity"]["rows"][0].pop("status"),
    "unknown-status": lambda data: data["parity"]["rows"][0].update(status="good"),
    "text-for-a-number": lambda data: data["drift"][0].update(limit="1e-6"),
    "null-for-a-finite-number": lambda data: data["latency"]["rows"][0].update(steps_per_second=None),
    "number-for-an-object": lambda data: data.update(fingerprint=3),
    "object-for-an-array": lambda data: data.update(cases={}),
    "truth-value-for-a-number": lambda data: data["drift"][0].update(steps=True),
    "other-schema": lambda data: data.update(schema=1),
    "other-kind": lambda data: data.update(kind="bench"),
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
def test_the_schema_and_the_reader_refuse_the_same_damage(change: Any) -> None:
    data = damaged(change)
    with pytest.raises(ValidationError):
        VALIDATOR.validate(data)
    with pytest.raises(ReportError):
        report_from_json(data, "report")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: [data.pop("schema"), data.pop("kind")], "got a report without a schema number, of an older rnnx"),
        (lambda data: data.update(schema=3), "got schema 3, expected schema 2"),
        (lambda data: data.update(kind="bench"), "got a report of kind 'bench', expected a report of rnnx verify"),
        (lambda data: data.update(extra=1), "got extra missing or unknown in report"),
        (lambda data: data["latency"]["rows"][0]["p50_ms"].update(low=9.0), "report.latency pytorch-cpu p50_ms"),
        (lambda data: data["latency"]["rows"][0].update(max_ms=10**400), "for report.latency.rows.0..max_ms"),
    ],
    ids=["older", "newer", "other-kind", "unknown-key", "no-interval", "no-float"],
)
def test_a_refusal_says_what_is_wrong_where_and_what_to_do(change: Any, message: str) -> None:
    with pytest.raises(ReportError, match=f"baseline old.json: .*{message}.*; verify again with --json"):
        report_from_json(damaged(change), "baseline old.json")


@pytest.mark.parametrize("data", [None, [], "text", 3, {}], ids=repr)
def test_json_that_is_no_report_is_refused(data: object) -> None:
    with pytest.raises(ReportError):
        report_from_json(data, "report")


def test_plain_data_has_its_keys_in_one_order() -> None:
    assert list(json_from_report(passing_report()))[:5] == ["schema", "kind", "passed", "model", "model_sha256"]
