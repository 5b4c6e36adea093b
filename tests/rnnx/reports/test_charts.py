import dataclasses
import math
from typing import Any

from tests.rnnx.reports.made_reports import curve, latency

from rnnx.reports.charts import Chart, drift_chart, latency_chart


def values(chart: Chart | None) -> list[dict[str, Any]]:
    assert chart is not None
    found: list[dict[str, Any]]
    (found,) = chart.spec["datasets"].values()
    return found


def test_drift_has_every_backend_the_float32_error_and_the_limit() -> None:
    chart = drift_chart((curve("pytorch-cpu"), curve("ort-cpu", precision="tf32", limit=1e-3)), "PyTorch")
    series = ["pytorch-cpu", "ort-cpu", "PyTorch float32", "limit, float32", "limit, tf32"]
    assert chart is not None
    assert [entry.label for entry in chart.legend] == series
    assert {point["series"] for point in values(chart)} == set(series)
    assert [point["error"] for point in values(chart) if point["series"] == "limit, tf32"] == [1e-3, 1e-3]
    assert [point["step"] for point in values(chart) if point["series"] == "ort-cpu"] == [1, 10, 100, 1000]
    assert chart.spec["encoding"]["y"]["scale"]["type"] == "log"


def test_lines_differ_in_colour_and_in_dash() -> None:
    chart = drift_chart(tuple(curve(name) for name in "abcdefg"), "PyTorch")
    assert chart is not None
    backends = chart.legend[:7]
    assert len({entry.color for entry in backends}) == len({entry.dash for entry in backends}) == 7


def test_what_a_logarithm_cannot_show_is_left_out() -> None:
    errors = (0.0, math.inf, math.nan, 1e-7)
    points = [point for point in values(drift_chart((curve("a", errors=errors),), "PyTorch")) if point["series"] == "a"]
    assert [point["error"] for point in points] == [1e-7]


def test_the_axis_holds_every_error_between_powers_of_ten() -> None:
    chart = drift_chart((curve("a", 3e-6),), "PyTorch")
    assert chart is not None
    low, high = chart.spec["encoding"]["y"]["scale"]["domain"]
    assert low <= min(point["error"] for point in values(chart)) <= max(p["error"] for p in values(chart)) <= high
    assert math.log10(low) == round(math.log10(low))


def test_nothing_measured_is_no_chart() -> None:
    assert drift_chart((curve("a", status="skip", at=(), errors=(), float32_errors=()),), "PyTorch") is None
    assert drift_chart((curve("a", errors=(0.0,) * 4, float32_errors=(0.0,) * 4, limit=0.0),), "PyTorch") is None
    assert latency_chart(None) is None
    assert latency_chart(dataclasses.replace(latency(), rows=())) is None


def test_latency_has_101_percentiles_of_each_backend_and_three_marked() -> None:
    chart = latency_chart(latency())
    points = [point for point in values(chart) if point["backend"] == "ort-cpu"]
    assert [point["percentile"] for point in points] == list(range(101))
    assert {point["mark"]: point["percentile"] for point in points if point["mark"]} == {
        "p50": 50,
        "p90": 90,
        "p99": 99,
    }
    assert chart is not None
    assert [entry.label for entry in chart.legend] == ["one percentile of the calls", "p50", "p90", "p99"]


def test_a_clock_that_showed_no_time_leaves_no_mark() -> None:
    (row, *_) = latency().rows
    still = dataclasses.replace(row, quantiles_ms=(0.0,) * 100 + (1.0,))
    assert [point["ms"] for point in values(latency_chart(dataclasses.replace(latency(), rows=(still,))))] == [1.0]


def test_a_chart_names_no_address_that_a_browser_would_fetch() -> None:
    for chart in (drift_chart((curve("a"),), "PyTorch"), latency_chart(latency())):
        assert chart is not None
        assert "url" not in str(chart.spec)
        assert "config" not in chart.spec
