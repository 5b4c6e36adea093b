import json
import re
import sys
from html.parser import HTMLParser
from typing import Any

import pytest
from tests.rnnx.reports.made_reports import curve, failing_report, latency, passing_report, results, row

from rnnx.errors import MissingExtraError
from rnnx.linting.findings import Finding
from rnnx.parity.parity import ParityReport, ParityRow
from rnnx.reports.html import html_from_report
from rnnx.reports.json_report import json_from_report
from rnnx.reports.regression_gate import judged_against
from rnnx.reports.verification_report import VerificationReport
from rnnx.timing.fingerprint import Fingerprint


class Page(HTMLParser):
    """The elements of a page, the text outside of scripts and styles, and the scripts."""

    def __init__(self, report: VerificationReport) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.source = html_from_report(report)
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            if tag == "script":
                self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif not self._inside:
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def ids(self) -> set[str | None]:
        return {attributes["id"] for _, attributes in self.elements if "id" in attributes}

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def test_the_verdict_is_first() -> None:
    assert Page(passing_report()).text.startswith(
        "PASS: encoder.onnx ✓ Pass encoder.onnx models/encoder.onnx At parity"
    )
    failing = Page(failing_report()).text
    assert failing.startswith("FAIL: encoder.onnx ✕ Fail encoder.onnx models/encoder.onnx At parity with the truth:")
    assert "Not at parity: ort-cpu, tensorrt-rtx, tensorrt ." in failing


def test_every_part_of_a_report_has_its_figures() -> None:
    text = Page(judged_against(failing_report(), passing_report(), "old.json")).text
    for part in (
        "gate-order ort-cpu the gates are in the wrong order",
        "output hn of case T5 B3, layer 0, forward, gate f, from time step 0",
        "reorder each weight's gate blocks",
        "2 worse than old.json",
        "3 of 3 cases fail, T1 B1: 4.0e-01 against a limit of 1.0e-06",
        "T7 B4 increasing lengths 20 % 20 % 20 % ✕ 4e5× 20 % 20 %",
        "ort-cpu hn ✕ fail 4.0e-01 1.0e-01 2.0e-01 4.0e+00 2e+06",
        "tensorrt-rtx output ✕ fail – – – – – – T1 B1",
        "tensorrt-rtx output of case T1 B1: 3 of 24 values are NaN or Inf",
        "✕ fail tensorrt got no engine, expected one",
        "4 failing results",
        "pytorch-cpu – – – ✕ fail – –",
        "pytorch-cpu batch-mates ✕ fail – 1.0e-06 beside mates of NaN",
        "pytorch-cpu ✕ fail 1,000 3.0e-06 1,000 2.0e-07 3.0e-09 2.0e-06",
        "– skip ort-cuda: no GPU",
        "0.400 [0.380, 0.420] 0.480 [0.456, 0.504] 0.800 [0.760, 0.840] 1.2 – 2.00 [1.90, 2.10] 125,000",
        "ort-cpu 400 calls in 20 rounds after 40 to warm up; threads 1",
        "tensorrt-rtx: no profile covers this shape",
        "! warning unreachable-state every backend its final state is no output node LSTM 'encoder/lstm' fix make Y_h",
        "float32 the larger of 4 × the float32 error",
        "processor A CPU",
        "rnnx 0.1.0",
    ):
        assert part in text


def test_what_was_not_done_has_no_section() -> None:
    report = passing_report(checks=(), drift=(), latency=None, findings=(), seconds={})
    assert not Page(report).ids() & {"checks", "drift", "latency", "doctor", "diagnosis", "baseline", "seconds"}
    assert {"checks", "drift", "latency", "doctor", "seconds"} <= Page(passing_report()).ids()


def test_a_row_whose_every_case_is_without_a_result_is_a_page_too() -> None:
    skipped = ParityRow(backend="ort-cpu", status="skip", reason="not here")
    text = Page(passing_report(parity=ParityReport(rows=(skipped,)), tolerances={})).text
    assert "No backend ran the model, so nothing was verified" in text
    assert "– skip ort-cpu not here" in text


def test_every_table_has_its_button_and_exact_figures() -> None:
    page = Page(failing_report())
    targets = [attributes["data-table"] for _, attributes in page.elements if "data-table" in attributes]
    assert len(targets) == len(set(targets)) == page.count("table")
    assert set(targets) <= page.ids()
    assert '<data value="2e-07">2.0e-07</data>' in page.source
    assert '<data value="">–</data>' in page.source


def test_the_whole_report_lies_in_the_page_as_json() -> None:
    for report in (passing_report(), failing_report()):
        (data,) = re.findall(r'id="report">(.*?)</script>', html_from_report(report))
        assert json.loads(data) == json_from_report(report)
        assert list(json.loads(data)) == list(json_from_report(report))


HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>\"'&{{ 7 * 6 }}"


def hostile_report() -> VerificationReport:
    """A report of which every text that a file or a backend gives is an attack."""
    finding = Finding(rule=HOSTILE, severity="error", node=HOSTILE, message=HOSTILE, fix=HOSTILE, backends=(HOSTILE,))
    report = failing_report(
        model=f"models/{HOSTILE}.onnx",
        truth=HOSTILE,
        findings=(finding,),
        fingerprint=Fingerprint(machine={HOSTILE: HOSTILE}, versions={"rnnx": HOSTILE}),
        drift=(curve(HOSTILE), curve("b", reason=HOSTILE, precision=HOSTILE)),
        parity=ParityReport(
            rows=(row("ort-cpu", results(cases=(HOSTILE,)), device=HOSTILE, reason=HOSTILE, uncovered=(HOSTILE,)),)
        ),
    )
    return judged_against(report, passing_report(), HOSTILE)


def test_no_text_of_a_report_becomes_markup() -> None:
    page, honest = Page(hostile_report()), Page(failing_report())
    assert not [name for name, attributes in page.elements if name == "img" or "onerror" in attributes]
    assert len(page.scripts) == len(honest.scripts)
    assert page.scripts[-2:] == honest.scripts[-2:]
    assert "{{ 7 * 6 }}" in page.text
    assert HOSTILE in json.loads(page.scripts[-3])["model"]


def test_no_script_but_the_page_s_own_may_run_and_nothing_is_fetched() -> None:
    page = Page(hostile_report())
    (policy,) = [str(a["content"]) for name, a in page.elements if name == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none'; ")
    (scripts,) = [part for part in policy.split("; ") if part.startswith("script-src")]
    assert "unsafe-inline" not in scripts
    assert scripts.count("'sha256-") == 2
    links: list[Any] = [a.get("href") or a.get("src") for name, a in page.elements if "href" in a or "src" in a]
    assert all(link.startswith(("#", "data:,")) for link in links)


def test_a_page_without_charts_brings_no_library_for_them() -> None:
    page = Page(passing_report(drift=(), latency=None))
    assert len(page.source) < 60_000
    assert len(Page(passing_report(latency=latency())).source) > 500_000


@pytest.mark.parametrize("package", ["jinja2", "altair", "vl_convert"])
def test_a_missing_package_is_one_error_with_the_command(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingExtraError, match=rf"writing --html: got no package {package}.*pip install 'rnnx\[report"
    ):
        html_from_report(passing_report())


def test_a_name_cannot_turn_the_page_around_or_keep_it_from_being_written() -> None:
    page = html_from_report(passing_report(model="models/\u202egnp.exe\ud800\x1b.onnx"))
    assert page.encode()
    assert "\u202e" not in page
    assert r"\u202egnp.exe\ud800\x1b.onnx" in page
