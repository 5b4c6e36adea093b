import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnx.errors import ReportError
from rnnx.reports.bench_json import bench_from_json, json_from_bench, read_bench, text_from_bench
from rnnx.timing.figures import BenchReport

Report = Callable[..., BenchReport]


def test_a_report_comes_back_as_it_was(report: Report, tmp_path: Path) -> None:
    for before in (report(), report(ratio=None, device_p50_ms=0.5), report(jitter=(), throughput=())):
        (tmp_path / "report.json").write_text(text_from_bench(before))
        assert read_bench(tmp_path / "report.json") == before


def test_the_json_says_what_it_is(report: Report) -> None:
    data = json_from_bench(report())
    assert (data["schema"], data["kind"]) == (1, "bench")
    assert data["latency"]["rows"][1]["p50_ms"]["value"] == 2.0
    json.dumps(data, allow_nan=False)


def test_a_whole_number_is_a_time_too(report: Report) -> None:
    data = json_from_bench(report())
    data["jitter"][0]["frame_ms"] = 10
    assert bench_from_json(data, "report").jitter[0].frame_ms == 10.0


def _without(data: dict[str, Any], *path: Any) -> dict[str, Any]:
    inner: Any = data
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return data


def _with(data: dict[str, Any], value: Any, *path: Any) -> dict[str, Any]:
    inner: Any = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda data: [data], "got list, expected a report of rnnx bench"),
        (lambda data: {"schema": 2, "passed": True}, "got kind None, expected a report of rnnx bench"),
        (lambda data: _with(data, 0, "schema"), "got schema 0, expected schema 1; measure again"),
        (lambda data: _without(data, "jitter"), "got jitter missing or unknown in report, expected a whole report"),
        (lambda data: _with(data, 1, "more"), "got more missing or unknown in report"),
        (lambda data: _without(data, "latency", "rows", 1, "calls"), r"calls missing or unknown in report.+rows\[1"),
        (lambda data: _with(data, "2", "latency", "rows", 0, "max_ms"), r"got '2' for report.latency.rows\[0\].max_ms"),
        (lambda data: _with(data, None, "model"), "got NoneType for report.model"),
        (lambda data: _with(data, {}, "latency", "rows"), "got dict for report.latency.rows"),
        (lambda data: _with(data, 7, "throughput", 0), r"got 7 for report.throughput\[0\]"),
        (lambda data: _with(data, 0.0, "latency", "rows", 0, "p50_ms", "low"), "got 4 within 0 and 4.02"),
        (lambda data: _with(data, float("nan"), "latency", "rows", 0, "p50_ms", "value"), "got nan for report.latency"),
        (lambda data: _with(data, True, "latency", "threads"), "got True for report.latency.threads"),
    ],
    ids=[
        "list", "verification", "older", "missing", "unknown", "missing-deep", "text", "null", "mapping", "number",
        "no-interval", "nan", "bool",
    ],
)  # fmt: skip
def test_what_is_no_report_is_one_clear_error(report: Report, broken: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ReportError, match=f"report old.json: {message}" if message.startswith("got") else message):
        bench_from_json(broken(json_from_bench(report())), "report old.json")


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (None, "got No such file or directory"),
        (b'{"schema": 1, "kind": "ben', "got no JSON"),
        (b"\xff\xfe\x00", "got no JSON"),
        (b"", "got no JSON"),
        (b"[" * 100_000, "got no JSON"),
    ],
    ids=["missing", "truncated", "binary", "empty", "nested"],
)
def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path, content: bytes | None, got: str) -> None:
    path = tmp_path / "old.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReportError, match=rf"report .*old\.json: {got}"):
        read_bench(path)
