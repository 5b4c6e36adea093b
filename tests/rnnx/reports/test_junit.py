import sys
from xml.etree import ElementTree

import pytest
from junitparser import JUnitXml
from tests.rnnx.reports.made_reports import failing_report, passing_report, results, row

from rnnx.errors import MissingExtraError
from rnnx.parity.parity import ParityReport, ParityRow
from rnnx.reports.junit import junit_from_report
from rnnx.reports.regressions import Regression
from rnnx.reports.verification_report import VerificationReport
from rnnx.runners.row_names import ROW_NAMES

REGRESSION = Regression(kind="latency", backend="ort-cpu", subject="p50 latency", before="1 ms", now="2 ms")

REPORTS = {
    "passing": passing_report(),
    "failing": failing_report(),
    "worse-than-the-baseline": passing_report(regressions=(REGRESSION,)),
    "nothing-ran": passing_report(parity=ParityReport(rows=(ParityRow(backend="ort-cpu", status="skip"),))),
    "pytorch-alone": passing_report(parity=ParityReport(rows=(row("pytorch-cpu", results()),))),
}


def suites(report: VerificationReport) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(junit_from_report(report))
    assert root.tag == "testsuites"
    return {str(suite.get("name")): suite for suite in root}


def entries(suite: ElementTree.Element) -> dict[str, ElementTree.Element]:
    return {f"{test.get('classname')} {test.get('name')}": test for test in suite.iter("testcase")}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_there_is_a_failure_exactly_where_the_verdict_is_one(report: VerificationReport) -> None:
    document = JUnitXml.fromstring(junit_from_report(report).encode())
    assert (document.failures == 0) is bool(report)


def test_every_backend_is_a_suite_with_a_test_for_each_output_of_each_case() -> None:
    found = suites(passing_report())
    assert list(found) == ["pytorch-cpu", "ort-cpu", "ort-cuda", "verdict"]
    names = list(entries(found["ort-cpu"]))
    assert names[:2] == ["ort-cpu.parity T1 B1 output", "ort-cpu.parity T1 B1 hn"]
    assert names[6:] == [
        "ort-cpu.parity T500 B64",
        "ort-cpu.checks batch-order",
        "ort-cpu.checks padding",
        "ort-cpu.checks drift",
    ]
    assert (found["ort-cpu"].get("tests"), found["ort-cpu"].get("skipped")) == ("10", "2")


def test_a_skip_says_its_reason() -> None:
    (test,) = entries(suites(passing_report())["ort-cuda"]).values()
    (skipped,) = test.iter("skipped")
    assert skipped.get("message") == "backend ort-cuda: got no GPU, expected one"


def test_a_failure_holds_the_figures_and_the_diagnosis() -> None:
    test = entries(suites(failing_report())["ort-cpu"])["ort-cpu.parity T5 B3 hn"]
    (failure,) = test.iter("failure")
    assert failure.get("message") == "largest error 4.00e-01, limit 1.00e-06, PyTorch's float32 error 2.00e-07"
    assert failure.text is not None
    for part in ("cause: gate-order", "layer 0, forward, gate f", "node: LSTM 'encoder/lstm'", "remedy: reorder"):
        assert part in failure.text


@pytest.mark.parametrize(
    ("backend", "name", "message"),
    [
        ("tensorrt-rtx", "tensorrt-rtx.parity T1 B1 output", "3 of 24 values are NaN or Inf"),
        ("tensorrt", "tensorrt row", "backend tensorrt: got no engine, expected one"),
        ("pytorch-cpu", "pytorch-cpu.checks batch-mates", "beside mates of NaN: NaN in output, T7 B5 row 2 alone"),
        ("pytorch-cpu", "pytorch-cpu.checks drift", "largest error 3.00e-06 at step 1000, limit 2.00e-06"),
    ],
)
def test_a_failure_says_what_is_wrong(backend: str, name: str, message: str) -> None:
    (failure,) = entries(suites(failing_report())[backend])[name].iter("failure")
    assert failure.get("message") == message


def test_a_regression_is_a_failure_with_both_figures() -> None:
    (failure,) = suites(passing_report(regressions=(REGRESSION,)))["verdict"].iter("failure")
    assert failure.get("message") == "before: 1 ms; now: 2 ms"


def test_nothing_is_lost_of_names_that_are_markup_or_no_xml() -> None:
    name = 'models/<script>&"\x00\x1b[31m\u202e\ud800.onnx'
    properties = suites(passing_report(model=name))["verdict"].iter("property")
    assert {one.get("name"): one.get("value") for one in properties}[
        "model"
    ] == r'models/<script>&"\x00\x1b[31m\u202e\ud800.onnx'


def test_no_package_is_one_error_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "junitparser", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'rnnx\[report\]'"):
        junit_from_report(passing_report())


def test_every_row_that_a_report_can_have_makes_a_suite() -> None:
    rows = tuple(ParityRow(backend=name, status="skip", reason="not here") for name in ROW_NAMES)
    assert list(suites(passing_report(parity=ParityReport(rows=rows)))) == [*ROW_NAMES, "verdict"]
