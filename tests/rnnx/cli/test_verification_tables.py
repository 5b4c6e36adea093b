import dataclasses
import re
from collections.abc import Callable

import click
import pytest
from tests.rnnx.reports.made_reports import case, failing_report, latency, passing_report, results, row

from rnnx.cli.render import PAGE_WIDTH
from rnnx.cli.verification_tables import print_verification
from rnnx.parity.parity import ParityReport, ParityRow
from rnnx.reports.regression_gate import judged_against
from rnnx.reports.verification_report import VerificationReport

LONG = "T2000 B64 increasing lengths, small inputs, zero state seed 3"

WIDE = passing_report(
    parity=ParityReport(
        rows=(
            row("tensorrt-network", results(3.21e-7, (LONG,)), device="parsed by tensorrt-rtx 1.7.1.116, NumPy"),
            row("tensorrt-rtx", (*results(cases=(LONG,)), case("T1 B1", "output", 123.0)), device="NVIDIA " * 20),
        )
    )
)

REPORTS = {
    "passing": passing_report(),
    "failing": failing_report(),
    "worse": judged_against(failing_report(), passing_report(), "old.json"),
    "wide": WIDE,
    "nothing-measured": passing_report(checks=(), drift=(), latency=None, findings=(), seconds={}),
}

Printed = Callable[[VerificationReport], str]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    def text_of(report: VerificationReport) -> str:
        print_verification(report)
        return capsys.readouterr().out

    return text_of


def lines_of(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def line_of(text: str, first: str) -> str:
    """The first line that starts with these words, one space between words."""
    return next(
        line for line in (" ".join(line.split()) for line in lines_of(text)) if f"{line} ".startswith(f"{first} ")
    )


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_no_line_is_wider_than_a_page(report: VerificationReport, printed: Printed) -> None:
    assert max(len(line) for line in lines_of(printed(report))) <= PAGE_WIDTH == 100


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_colour_changes_no_character(
    report: VerificationReport, printed: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = printed(report)
    assert "\x1b" not in plain
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with click.Context(click.Command("verify"), color=True):
        coloured = printed(report)
    assert "\x1b[" in coloured
    assert lines_of(re.sub(r"\x1b\[[0-9;]*m", "", coloured)) == lines_of(plain)


def test_the_verdict_is_the_first_and_the_last_line(printed: Printed) -> None:
    passing, failing = lines_of(printed(passing_report())), lines_of(printed(failing_report()))
    assert (passing[0], passing[-1]) == (
        "PASS models/encoder.onnx",
        "PASS: pytorch-cpu, ort-cpu compared; NOT verified: ort-cuda",
    )
    assert failing[0] == "FAIL models/encoder.onnx"
    assert failing[-1] == "FAIL: pytorch-cpu, ort-cpu, tensorrt-rtx compared; NOT verified: tensorrt"


def test_each_output_of_each_backend_has_its_figures_in_one_line(printed: Printed) -> None:
    text = printed(failing_report())
    assert line_of(text, "pytorch-cpu hn") == "pytorch-cpu hn 2.0e-07 1.0e-07 1.0 20% T1 B1 PASS"
    parity, failing = text.split("failing cases")
    assert line_of(parity, "ort-cpu hn") == "ort-cpu hn 4.0e-01 2.0e-01 2e+06 4e+05 × T1 B1 FAIL"
    assert line_of(parity, "tensorrt-rtx output") == "tensorrt-rtx output – – – – T1 B1 FAIL"
    assert line_of(parity, "tensorrt –") == "tensorrt – FAIL"
    assert line_of(failing, "ort-cpu hn T5") == "ort-cpu hn T5 B3 4.0e-01 1.0e-06 4e+05"
    assert line_of(failing, "tensorrt-rtx output") == "tensorrt-rtx output T1 B1 – 1.0e-06 no result"


def test_a_failure_is_explained(printed: Printed) -> None:
    lines = lines_of(printed(failing_report()))
    start = lines.index("why ort-cpu fails: gate-order")
    assert lines[start + 1 : start + 6] == [
        "  what: the gates are in the wrong order: f and g have changed places in layer 0",
        "  where: output hn of case T5 B3, layer 0, forward, gate f, from time step 0",
        "  node: LSTM 'encoder/lstm'",
        "  seen: with f and g swapped back the error is 2e-07",
        "  remedy: reorder each weight's gate blocks",
    ]
    assert "fail tensorrt: got no engine, expected one" in lines


def test_only_the_first_failing_cases_are_listed_and_the_rest_is_counted(printed: Printed) -> None:
    many = tuple(case(f"T{i} B1", "output", 1.0) for i in range(1, 31))
    text = printed(passing_report(parity=ParityReport(rows=(row("ort-cpu", many),))))
    assert "and 18 more; --json and --html have them all" in lines_of(text)


def test_each_message_of_a_backend_is_there_once(printed: Printed) -> None:
    failed = tuple(
        case(f"T{i} B1", "output", problem="the batch is 1" if i < 9 else "out of memory") for i in range(12)
    )
    text = printed(
        passing_report(parity=ParityReport(rows=(row("ort-cpu", failed, reason="case T0 B1: the batch is 1"),)))
    )
    assert text.count("the batch is 1") == 1
    assert "fail ort-cpu: output of case T9 B1: out of memory" in lines_of(text)


def test_checks_say_what_differs_and_why_others_were_skipped(printed: Printed) -> None:
    passing, failing = printed(passing_report()), printed(failing_report())
    assert line_of(passing.split("checks")[1], "ort-cpu –") == "ort-cpu – SKIP bitwise – – –"
    assert "skip padding: the model takes no lengths" in lines_of(passing)
    assert "fail pytorch-cpu batch-mates: beside mates of NaN: NaN in output, T7 B5 row 2 alone" in lines_of(failing)


def test_drift_stands_beside_the_float32_error_and_the_limit(printed: Printed) -> None:
    drift = printed(failing_report()).split("drift: errors")[1]
    assert line_of(drift, "pytorch-cpu") == "pytorch-cpu 1,000 3.0e-06 1,000 2.0e-07 +3e-09 2.0e-06 FAIL"
    assert "skip drift: ort-cuda: no GPU" in lines_of(drift)


def test_latency_has_intervals_conditions_start_up_and_notes(printed: Printed) -> None:
    text = printed(passing_report()).split("latency at T=50, B=1, 1 CPU thread")[1]
    figures = "ort-cpu 0.400 [0.380, 0.420] 0.480 0.800 1.200 125,000 2.00 [1.90, 2.10]"
    assert line_of(text, "ort-cpu 0.400") == figures
    assert "ort-cpu on CPU: 400 calls in 20 rounds after 40 to warm up; threads 1" in lines_of(text)
    assert line_of(text, "ort-cpu 0.20") == "ort-cpu 0.20 0.010 0.90 61"
    assert "note: tensorrt-rtx: no profile covers this shape" in lines_of(text)


def test_a_latency_that_never_became_stable_says_so(printed: Printed) -> None:
    found = latency()
    unstable = dataclasses.replace(found, rows=(dataclasses.replace(found.rows[0], stable=False),))
    assert "after 40 to warm up, NOT stable by then" in printed(passing_report(latency=unstable))


def test_regressions_are_listed_with_the_rule(printed: Printed) -> None:
    report = judged_against(passing_report(latency=latency(1.0)), passing_report(), "old.json")
    text = printed(report)
    assert "baseline: 1 worse than old.json" in lines_of(text)
    assert "worse: latency, ort-cpu p50 latency, × pytorch-cpu: 2 × before, 1 × " in text
    assert "rule: worse is a row, case, check or drift that passed and now fails" in text
    assert "baseline:" not in printed(passing_report())
    assert "baseline: nothing worse than old.json" in printed(
        judged_against(passing_report(), passing_report(), "old.json")
    )


def test_what_the_figures_stand_on_is_there(printed: Printed) -> None:
    text = printed(passing_report())
    for line in (
        "ran: pytorch-cpu (CPU, float32); ort-cpu (CPU, float32)",
        "note ort-cpu: not covered by the profile: T500 B64",
        "doctor: warning unreachable-state: LSTM 'encoder/lstm': its final state is no output",
        "time: truth 0.10 s, ort-cpu 0.20 s, rnnx 0.05 s",
        "machine: processor A CPU; cores 2",
        "versions: rnnx 0.1.0",
    ):
        assert line in lines_of(text)


def test_nothing_but_pytorch_is_no_verification(printed: Printed) -> None:
    skipped = ParityRow(backend="ort-cpu", status="skip", reason="not installed")
    report = passing_report(parity=ParityReport(rows=(row("pytorch-cpu", results()), skipped)))
    assert "fail: no backend ran the model, so nothing was verified" in lines_of(printed(report))


def test_markup_in_a_name_stays_as_it_is(printed: Printed) -> None:
    assert "PASS models/[red]x[/red].onnx" in lines_of(printed(passing_report(model="models/[red]x[/red].onnx")))
