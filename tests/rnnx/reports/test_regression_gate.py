import dataclasses
from typing import Any

import pytest
from tests.rnnx.reports.made_reports import case, curve, failing_report, latency, passing_report, results, row

from rnnx.parity.parity import ParityReport, ParityRow
from rnnx.reports.regression_gate import judged_against, regressions_against
from rnnx.reports.verification_report import VerificationReport
from rnnx.timing.fingerprint import Fingerprint

SKIPPED = ParityRow(backend="ort-cpu", status="skip", reason="no engine here")
CRASHED = ParityRow(backend="ort-cpu", status="fail", reason="the engine crashed")


def told(report: VerificationReport, baseline: VerificationReport) -> list[str]:
    found = regressions_against(report, baseline)
    return [f"{one.kind} {one.backend} {one.subject}: {one.before} -> {one.now}" for one in found]


def parity_of(*rows: ParityRow) -> VerificationReport:
    return passing_report(parity=ParityReport(rows=rows), checks=(), drift=(), latency=None)


ONE_ROW = parity_of(row("ort-cpu", results()))


@pytest.mark.parametrize("report", [passing_report(), failing_report()], ids=["passing", "failing"])
def test_a_report_is_no_worse_than_itself(report: VerificationReport) -> None:
    assert told(report, report) == []


def test_what_became_better_is_no_regression() -> None:
    assert told(passing_report(), failing_report()) == []


@pytest.mark.parametrize(
    ("rows", "text"),
    [((), "not run"), ((SKIPPED,), "skip: no engine here"), ((CRASHED,), "fail: the engine crashed")],
    ids=["gone", "skipped", "failed"],
)
def test_a_row_that_passed_and_has_no_results_now_is_worse(rows: tuple[ParityRow, ...], text: str) -> None:
    assert told(parity_of(*rows), ONE_ROW) == [f"parity ort-cpu row: pass -> {text}"]
    assert told(parity_of(*rows), parity_of(CRASHED)) == []


def test_a_lost_row_does_not_count_again_for_its_checks_and_drift() -> None:
    baseline = passing_report(latency=None)
    now = passing_report(latency=None, parity=ParityReport(rows=(baseline.parity.rows[0], SKIPPED)), checks=())
    assert told(now, baseline) == ["parity ort-cpu row: pass -> skip: no engine here"]


def test_cases_that_passed_and_fail_now_are_one_line_with_the_worst() -> None:
    far = tuple(
        case("T5 B3", "output", 1e-3) if one.case == "T5 B3" and one.output == "output" else one for one in results()
    )
    assert told(parity_of(row("ort-cpu", far)), ONE_ROW) == [
        "parity ort-cpu output: passed, T5 B3: 2.0e-07 -> 1 of 3 cases fail, T5 B3: 1.0e-03 against a limit of 1.0e-06"
    ]


def test_a_case_whose_values_are_none_now_says_so() -> None:
    now = parity_of(row("ort-cpu", (case("T1 B1", "output", problem="1 of 2 values are NaN or Inf"), *results()[1:])))
    assert told(now, ONE_ROW) == [
        "parity ort-cpu output: passed, T1 B1: 2.0e-07 -> 1 of 3 cases fail, T1 B1: 1 of 2 values are NaN or Inf"
    ]


def test_cases_that_did_not_run_now_are_one_line() -> None:
    now = parity_of(row("ort-cpu", results(cases=("T1 B1",))))
    assert told(now, ONE_ROW) == ["parity ort-cpu cases: 3 ran -> 2 did not: T5 B3, T7 B4 increasing lengths"]


@pytest.mark.parametrize(
    ("before", "now", "worse"),
    [(2e-7, 9e-7, True), (2e-7, 7e-7, False), (1e-8, 1.9e-7, False), (1e-8, 2.1e-7, True)],
    ids=["beyond-4-times", "within-4-times", "within-the-float32-error", "beyond-the-float32-error"],
)
def test_an_error_within_its_limit_is_worse_where_it_grew_beyond_the_noise(
    before: float, now: float, worse: bool
) -> None:
    found = told(parity_of(row("ort-cpu", results(now))), parity_of(row("ort-cpu", results(before))))
    expected = [f"parity ort-cpu {name}: T1 B1: {before:.1e} -> {now:.1e} and 2 more" for name in ("output", "hn")]
    assert found == (expected if worse else [])


@pytest.mark.parametrize(
    ("status", "text"), [("fail", "fail: two rows differ"), ("skip", "skip: two rows differ"), (None, "not run")]
)
def test_a_check_that_held_and_does_not_now_is_worse(status: Any, text: str) -> None:
    held = passing_report().checks[0]
    now = () if status is None else (dataclasses.replace(held, status=status, detail="two rows differ"),)
    found = told(passing_report(checks=now), passing_report())
    assert found == [f"check ort-cpu batch-order: pass -> {text}"]


def test_a_drift_that_failed_was_skipped_or_grew_is_worse() -> None:
    before = passing_report()

    def now(**others: Any) -> list[str]:
        changed = curve("ort-cpu", **others)
        return told(passing_report(drift=(before.drift[0], changed)), before)

    was = "drift ort-cpu drift: pass, 4.0e-07 at most"
    assert now(status="fail", error=3e-6) == [f"{was} -> fail: 3.0e-06"]
    assert now(status="skip", reason="no state") == [f"{was} -> skip: no state"]
    assert now(error=1.7e-6) == ["drift ort-cpu drift: 4.0e-07 at most -> 1.7e-06 at most"]
    assert now(error=1.5e-6) == []
    assert now(error=1.7e-6, steps=10_000) == []


def test_a_latency_is_worse_only_beyond_the_noise() -> None:
    slower = passing_report(latency=latency(ort_ratio=1.0))
    (line,) = told(slower, passing_report())
    assert line.startswith("latency ort-cpu p50 latency, × pytorch-cpu: 2 × -> 1 × (-50%, beyond the noise of ")
    assert told(passing_report(latency=latency(ort_ratio=1.97)), passing_report()) == []
    assert told(passing_report(latency=latency(ort_ratio=4.0)), passing_report()) == []


def test_an_absolute_time_is_not_judged_on_another_machine() -> None:
    def alone(factor: float, processor: str) -> VerificationReport:
        (row,) = (row for row in latency(factor).rows if row.backend == "ort-cpu")
        alone = dataclasses.replace(latency(), rows=(dataclasses.replace(row, ratio=None),))
        fingerprint = Fingerprint(machine={"processor": processor}, versions={})
        return passing_report(latency=alone, fingerprint=fingerprint)

    assert len(told(alone(1.0, "A CPU"), alone(2.0, "A CPU"))) == 1
    assert told(alone(1.0, "Another"), alone(2.0, "A CPU")) == []


def test_what_was_not_judged_is_said() -> None:
    def notes(now: VerificationReport, before: VerificationReport) -> tuple[str, ...]:
        return judged_against(now, before, "old.json").baseline_notes

    same = passing_report()
    other = dataclasses.replace(latency(), sizes={"T": 7, "B": 1})
    assert notes(same, same) == ()
    assert notes(passing_report(latency=None), same) == ("latency is not judged: no figures now",)
    assert notes(same, passing_report(latency=None)) == ("latency is not judged: the baseline has no figures",)
    (text,) = notes(passing_report(latency=other), same)
    assert text.startswith("latency is not judged: it was measured at B=1, T=50, 1 CPU threads, now at B=1, T=7")
    assert told(passing_report(latency=other), same) == []
    assert notes(passing_report(model_sha256="ef" * 32), same) == (
        "the model's file is another one, of the same weights",
    )
    elsewhere = passing_report(fingerprint=Fingerprint(machine={"processor": "B"}, versions={"rnnx": "0.1.0"}))
    assert "differs: processor: was A CPU, is B" in notes(elsewhere, same)


def test_a_regression_turns_the_verdict() -> None:
    judged = judged_against(passing_report(latency=latency(ort_ratio=1.0)), passing_report(), "old.json")
    assert judged.baseline == "old.json"
    assert passing_report()
    assert not judged
