"""A verification report as JUnit XML, which CI systems show as tests.

The form is Apache Ant's, as https://github.com/windyroad/JUnit-Schema states it.
"""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rnnx.diagnosis.diagnosis import Diagnosis
from rnnx.extras import require
from rnnx.parity.parity import CaseParity, ParityRow
from rnnx.parity.results import DriftCurve, Status
from rnnx.reports.verification_report import VerificationReport
from rnnx.runners.row_names import runs_the_model
from rnnx_runtime.printable import shown_lines

if TYPE_CHECKING:
    from junitparser import JUnitXml, TestCase, TestSuite

_LONGEST_LINE = 10_000
"""Characters; what XML 1.0 cannot hold, not even escaped, does not print either: https://www.w3.org/TR/xml/#charsets."""


def junit_from_report(report: VerificationReport) -> str:
    """A suite for each backend, with a test for each output of each case, each check, the drift and each regression.

    It has a failure exactly where the report's verdict is one.

    Raises:
        MissingExtraError: junitparser is not installed.
    """
    junit = require("junitparser", extra="report", purpose="writing --junit")
    document: JUnitXml = junit.JUnitXml(_clean(f"rnnx verify {report.model}"))
    for row in report.parity.rows:
        document.add_testsuite(_suite(junit, row.backend, list(_row_tests(junit, report, row)), _properties(row)))
    verdict = {"model": report.model, "truth": report.truth, "matrix": report.matrix, "baseline": report.baseline}
    document.add_testsuite(_suite(junit, "verdict", list(_verdict_tests(junit, report)), verdict))
    text = io.BytesIO()
    document.write(text)
    return text.getvalue().decode()


def _suite(junit: Any, name: str, tests: "list[TestCase]", properties: dict[str, str]) -> "TestSuite":
    suite: TestSuite = junit.TestSuite(name)
    for key, value in properties.items():
        suite.add_property(key, _clean(value))
    suite.add_testcases(tests)
    return suite


def _properties(row: ParityRow) -> dict[str, str]:
    return {"device": row.device, "precision": row.precision} if row.results else {}


def _row_tests(junit: Any, report: VerificationReport, row: ParityRow) -> "Iterator[TestCase]":
    why = "".join(_explained(one) for one in report.diagnoses if one.backend == row.backend)
    if not row.results:
        yield _test(junit, row.backend, "row", row.status, row.reason, why)
    for result in row.results:
        status: Status = "pass" if result else "fail"
        yield _test(junit, f"{row.backend}.parity", f"{result.case} {result.output}", status, _told(result), why)
    for case in row.uncovered if row.results else ():
        yield _test(junit, f"{row.backend}.parity", case, "skip", "no profile of the engine covers it")
    for check in report.checks:
        if check.backend == row.backend:
            yield _test(junit, f"{row.backend}.checks", check.check, check.status, check.detail)
    for curve in report.drift:
        if curve.backend == row.backend:
            yield _test(junit, f"{row.backend}.checks", "drift", curve.status, _drifted(curve))


def _verdict_tests(junit: Any, report: VerificationReport) -> "Iterator[TestCase]":
    """What no row says by itself: that some backend ran the model, and what became worse since the baseline."""
    ran = any(row.results and runs_the_model(row.backend) for row in report.parity.rows)
    yield _test(junit, "verdict", "a backend ran the model", "pass" if ran else "fail", "so nothing was verified")
    for number, one in enumerate(report.regressions, 1):
        message = f"before: {one.before}; now: {one.now}"
        yield _test(junit, f"{one.backend}.baseline", f"{number} {one.kind} {one.subject}", "fail", message)


def _test(junit: Any, classname: str, name: str, status: Status, message: str, why: str = "") -> "TestCase":
    test: TestCase = junit.TestCase(_clean(name), classname=classname, time=0.0)
    if status == "skip":
        test.result = [junit.Skipped(_clean(message))]
    if status == "fail":
        failure = junit.Failure(_clean(message))
        failure.text = _clean(message + why)
        test.result = [failure]
    return test


def _told(result: CaseParity) -> str:
    if result.closeness is None:
        return result.problem
    return (
        f"largest error {result.closeness.max_error:.2e}, limit {result.limit:.2e}, "
        f"PyTorch's float32 error {result.float32_error:.2e}"
    )


def _drifted(curve: DriftCurve) -> str:
    worst = f"largest error {curve.worst_error:.2e} at step {curve.worst_step}, limit {curve.limit:.2e}"
    return curve.reason or worst


def _explained(one: Diagnosis) -> str:
    parts = [f"\n\ncause: {one.cause or 'none that is known'}", one.summary]
    parts += [f"where: {one.location.text}"] if one.location else []
    parts += [f"node: {one.node}"] if one.node else []
    return "\n".join([*parts, *(f"- {text}" for text in one.evidence), f"remedy: {one.remedy}"])


def _clean(text: str) -> str:
    return shown_lines(text, _LONGEST_LINE)
