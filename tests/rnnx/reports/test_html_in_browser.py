"""The page in headless Chromium: what it draws, that it is quiet, fits a phone, follows the dark mode and copies."""

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page, sync_playwright
from safetensors.torch import save_file
from tests.rnnx.reports.made_reports import failing_report, passing_report
from tests.rnnx.reports.test_html import HOSTILE, hostile_report
from torch import nn

import rnnx
from rnnx.reports.html import html_from_report
from rnnx.reports.regression_gate import judged_against
from rnnx.reports.verification_report import VerificationReport
from rnnx.runners.verify_options import VerifyOptions
from rnnx.verifying.verification import verify

NAMES = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE, SMALL_PHONE = 1280, 390, 320


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        missing = f"no {' or '.join(NAMES)} on the PATH: apt-get install chromium"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that root and most containers have not.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclasses.dataclass(frozen=True)
class Opened:
    """A page and all that it said and asked for: console messages, errors, addresses other than its own."""

    page: Page
    said: list[str]
    asked: list[str]


Open = Callable[..., Opened]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    contexts = []

    def open_report(report: VerificationReport, *, width: int = DESKTOP, scheme: Any = "light") -> Opened:
        path = tmp_path / "report.html"
        path.write_text(html_from_report(report), encoding="utf-8")
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme))
        result = Opened(contexts[-1].new_page(), [], [])
        result.page.on("console", lambda message: result.said.append(message.text))
        result.page.on("pageerror", lambda error: result.said.append(str(error)))
        result.page.on("request", lambda request: result.asked.append(request.url))
        result.page.goto(path.as_uri())
        drawn(result.page, scheme)
        return result

    yield open_report
    for context in contexts:
        context.close()


def drawn(page: Page, scheme: str) -> None:
    page.wait_for_function("scheme => document.documentElement.dataset.drawn === scheme", arg=scheme)


def count(page: Page, selector: str) -> int:
    return page.locator(selector).count()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> VerificationReport:
    """A report that nobody made by hand: it has drift and latency."""
    folder = tmp_path_factory.mktemp("measured")
    torch.manual_seed(5)
    save_file(nn.LSTM(5, 8).state_dict(), folder / "weights.safetensors")
    rnnx.export(folder / "weights.safetensors", folder / "model.onnx")
    options = VerifyOptions(
        checkpoint=folder / "weights.safetensors", backends=("pytorch-cpu", "ort-cpu"), latency_seconds=0.05
    )
    return verify(folder / "model.onnx", options)


REPORTS = {
    "passing": passing_report(),
    "failing": failing_report(),
    "worse": judged_against(failing_report(), passing_report(), "old.json"),
    "bare": passing_report(checks=(), drift=(), latency=None, findings=(), seconds={}),
    "hostile": hostile_report(),
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_a_page_says_nothing_and_asks_for_nothing_in_either_scheme(report: VerificationReport, opened: Open) -> None:
    found = opened(report)
    found.page.emulate_media(color_scheme="dark")
    drawn(found.page, "dark")
    assert found.said == []
    assert [url for url in found.asked if not url.startswith(("file:", "data:,"))] == []


def test_every_line_and_every_percentile_of_a_measured_report_is_drawn(
    measured: VerificationReport, opened: Open
) -> None:
    found = opened(measured)
    assert found.said == []
    lines = found.page.locator("#drift-chart .plot svg .mark-line path")
    assert lines.count() == 4  # two backends, PyTorch's float32, the limit
    assert all(line.bounding_box() for line in lines.all())
    assert count(found.page, "#latency-chart .plot svg .mark-rect path") == 2 * 101
    assert count(found.page, "#latency-chart .plot svg .mark-symbol path") == 2 * 3
    assert count(found.page, "#heat-map tbody td") == 2 * 3 * len(measured.cases)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_a_page_is_no_wider_than_its_screen(report: VerificationReport, opened: Open) -> None:
    page = opened(report).page
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    for width in (DESKTOP, PHONE, SMALL_PHONE):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width, timeout=5000)


def test_a_wide_table_scrolls_within_itself(opened: Open) -> None:
    page = opened(passing_report(), width=PHONE).page
    box = page.locator(".table", has=page.locator("#latency-table"))
    assert box.evaluate("one => one.scrollWidth > one.clientWidth")
    box.evaluate("one => { one.scrollLeft = 100; }")
    assert box.evaluate("one => one.scrollLeft") == 100


def test_a_chart_is_as_wide_as_the_page(opened: Open) -> None:
    page = opened(passing_report(), width=PHONE).page
    for svg in page.locator(".plot svg").all():
        box = svg.bounding_box()
        assert box is not None
        assert 300 < box["width"] <= PHONE - 2 * 16
    page.set_viewport_size({"width": DESKTOP, "height": 800})
    page.wait_for_function("document.querySelector('.plot svg').getBoundingClientRect().width > 900")


def colors(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(
        """() => ({
            page: getComputedStyle(document.body).backgroundColor,
            text: getComputedStyle(document.body).color,
            axis: document.querySelector('.plot svg .role-axis-label text').getAttribute('fill'),
            cell: getComputedStyle(document.querySelector('#heat-map td')).backgroundColor,
        })"""
    )
    return found


def test_the_page_and_its_charts_follow_the_dark_mode(opened: Open) -> None:
    page = opened(passing_report()).page
    light = colors(page)
    page.emulate_media(color_scheme="dark")
    drawn(page, "dark")
    dark = colors(page)
    assert not set(light.values()) & set(dark.values())
    assert count(page, "#drift-chart svg.marks") == 1
    page.emulate_media(color_scheme="light")
    drawn(page, "light")
    assert colors(page) == light


def copied(found: Opened, button: Any) -> str:
    found.page.evaluate(
        "() => { navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }; }"
    )
    button.click()
    found.page.wait_for_function("window.copied !== undefined")
    text: str = found.page.evaluate("window.copied")
    return text


def test_a_table_is_copied_with_every_digit_and_a_heading_for_every_column(opened: Open) -> None:
    found = opened(passing_report())
    lines = copied(found, found.page.locator("[data-table=heat-map]")).split("\n")
    assert lines[0].split("\t") == ["case", *["pytorch-cpu"] * 2, *["ort-cpu"] * 2]
    assert lines[1].split("\t") == ["case", "output", "hn", "output", "hn"]
    share = repr(2e-7 / 1e-6)
    assert lines[2].split("\t")[:3] == ["T1 B1", share, share]
    found.page.wait_for_function("document.getElementById('said').textContent === 'Table copied'")


def test_a_chart_is_copied_as_svg(opened: Open) -> None:
    found = opened(passing_report())
    text = copied(found, found.page.locator("#drift-chart .copy-svg"))
    assert text.startswith("<svg")
    assert text.count("<path") > 4


def test_the_json_is_copied_and_saved_whole(opened: Open, tmp_path: Path) -> None:
    found = opened(passing_report())
    embedded = found.page.locator("#report").text_content()
    assert copied(found, found.page.locator("#copy-json")) == embedded
    with found.page.expect_download() as download:
        found.page.locator("#save-json").click()
    assert Path(download.value.path()).read_text(encoding="utf-8") == embedded
    assert found.said == []


def test_without_a_clipboard_a_table_is_copied_by_hand(opened: Open) -> None:
    found = opened(passing_report())
    found.page.evaluate(
        """() => {
            navigator.clipboard.writeText = () => Promise.reject(new Error("refused"));
            document.execCommand = () => { window.copied = document.activeElement.value; return true; };
        }"""
    )
    found.page.locator("[data-table=versions]").click()
    found.page.wait_for_function("document.getElementById('said').textContent === 'Table copied'")
    assert found.page.evaluate("window.copied") == "rnnx\t0.1.0"
    assert count(found.page, "textarea") == 0


def test_an_attack_in_a_name_is_shown_as_text(opened: Open) -> None:
    page = opened(hostile_report()).page
    assert page.title() != "taken"
    assert HOSTILE in page.locator(".path").inner_text()


def test_a_script_that_got_in_anyway_does_not_run(opened: Open) -> None:
    found = opened(passing_report())
    title = found.page.title()
    found.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')")
    found.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'document.title=1'}))"
    )
    found.page.wait_for_timeout(100)
    assert found.page.title() == title
    assert any("Content Security Policy" in text for text in found.said)
