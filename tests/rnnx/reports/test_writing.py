import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.rnnx.reports.made_reports import failing_report, passing_report

from rnnx.errors import MissingExtraError
from rnnx.reports.writing import require_packages, write_reports

NAMES = {"json": "report.json", "html": "report.html", "junit": "report.xml"}


def test_each_format_that_was_asked_for_is_written_and_no_other_file(tmp_path: Path) -> None:
    paths = {kind: tmp_path / name for kind, name in NAMES.items()}
    write_reports(failing_report(), paths)
    assert json.loads(paths["json"].read_text(encoding="utf-8"))["passed"] is False
    assert paths["html"].read_text(encoding="utf-8").startswith("<!doctype html>")
    assert ElementTree.parse(paths["junit"]).getroot().tag == "testsuites"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES.values())


def test_a_format_that_was_not_asked_for_needs_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("jinja2", "altair", "vl_convert", "junitparser"):
        monkeypatch.setitem(sys.modules, package, None)
    paths = {"json": tmp_path / "report.json", "html": None, "junit": None}
    require_packages(["json"])
    write_reports(passing_report(), paths)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    ("kind", "package"), [("html", "jinja2"), ("html", "altair"), ("html", "vl_convert"), ("junit", "junitparser")]
)
def test_a_package_that_a_format_needs_is_asked_for_before_anything_runs(
    kind: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"writing --{kind}: got no package {package}.*rnnx\[report\]"):
        require_packages([kind])
