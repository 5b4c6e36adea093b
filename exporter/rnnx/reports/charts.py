"""The charts of a page: what they show as Vega-Lite, and their legend as values, for a page lays it out itself."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnx.extras import require
from rnnx.parity.results import DriftCurve
from rnnx.timing.figures import LatencyReport

# After Okabe and Ito, whose colours the colour-blind tell apart, https://jfly.uni-koeln.de/color/, each with a contrast
# of 3 to white and to a dark page alike. Every line has a dash pattern of its own too.
_COLORS = ("#3287c9", "#d55e00", "#009e73", "#c06a99", "#8c6bb1", "#b07d00", "#7f7f3f")
_DASHES: tuple[list[int], ...] = ([], [7, 2], [2, 2], [7, 2, 2, 2], [10, 3], [4, 4], [1, 3])
_GREY = "#80868c"
"""Seen on white and on black alike."""

_ROW_HEIGHT = 46

_MARKED = {50: "p50", 90: "p90", 99: "p99"}
_SHAPES = ("diamond", "circle", "triangle-up")


@dataclass(frozen=True, kw_only=True)
class LegendEntry:
    """One line or mark of a chart; `dash` is an SVG dash pattern, `shape` a mark's, each empty where it is not one."""

    label: str
    color: str
    dash: str = ""
    shape: str = ""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart: `spec` is Vega-Lite as plain data, `label` what it shows for those who cannot see it."""

    name: str
    label: str
    spec: Mapping[str, Any]
    legend: tuple[LegendEntry, ...]


@dataclass(frozen=True, kw_only=True)
class _Series:
    """One line of the drift: errors by step, and how it is drawn."""

    name: str
    at: tuple[int, ...]
    errors: tuple[float, ...]
    color: str
    dash: list[int]


def drift_chart(curves: Sequence[DriftCurve], yardstick: str) -> Chart | None:
    """The error of every measured curve against the step, on a log scale, with the float32 error and the limits."""
    series = list(_drift_series([curve for curve in curves if curve.at], yardstick))
    points = [
        {"series": one.name, "step": step, "error": error}
        for one in series
        for step, error in zip(one.at, one.errors, strict=True)
        if _is_drawable(error)
    ]
    if not points:
        return None
    return Chart(
        name="drift",
        label="Line chart: the largest absolute error of each backend against the step, on a logarithmic scale",
        spec=_drift_spec(points, series),
        legend=tuple(
            LegendEntry(label=one.name, color=one.color, dash=" ".join(map(str, one.dash)) or "none") for one in series
        ),
    )


def _drift_series(measured: Sequence[DriftCurve], yardstick: str) -> Iterator[_Series]:
    """Each backend's line, the one of PyTorch's float32, which is the same beside all of them, and each limit."""
    for i, curve in enumerate(measured):
        color, dash = _COLORS[i % len(_COLORS)], _DASHES[i % len(_DASHES)]
        yield _Series(name=curve.backend, at=curve.at, errors=curve.errors, color=color, dash=dash)
    for curve in measured[:1]:
        name = f"{yardstick} float32"
        yield _Series(name=name, at=curve.at, errors=curve.float32_errors, color=_GREY, dash=[3, 3])
    for precision, curve in {curve.precision: curve for curve in measured}.items():
        ends = (curve.at[0], curve.at[-1])
        yield _Series(name=f"limit, {precision}", at=ends, errors=(curve.limit,) * 2, color=_GREY, dash=[10, 4])


def latency_chart(latency: LatencyReport | None) -> Chart | None:
    """The 101 percentiles of every backend's time per call as ticks on a log scale, three of them marked."""
    rows = latency.rows if latency else ()
    points = [
        {"backend": row.backend, "ms": ms, "percentile": percentile, "mark": _MARKED.get(percentile, "")}
        for row in rows
        for percentile, ms in enumerate(row.quantiles_ms)
        if _is_drawable(ms)
    ]
    if not points:
        return None
    return Chart(
        name="latency",
        label="Strip chart: the percentiles 0 to 100 of each backend's time per call, on a logarithmic scale",
        spec=_latency_spec(points, [row.backend for row in rows]),
        legend=(
            LegendEntry(label="one percentile of the calls", color=_COLORS[0], shape="tick"),
            *(
                LegendEntry(label=name, color=_COLORS[1], shape=shape)
                for name, shape in zip(_MARKED.values(), _SHAPES, strict=True)
            ),
        ),
    )


def _is_drawable(value: object) -> bool:
    """A logarithmic scale has no place for zero, nor JSON a word for what is not finite."""
    return isinstance(value, float) and 0 < value < math.inf


def _drift_spec(points: Sequence[Mapping[str, Any]], series: Sequence[_Series]) -> dict[str, Any]:
    alt = require("altair", extra="report", purpose="writing --html")
    names = [one.name for one in series]
    colors, dashes = [one.color for one in series], [one.dash for one in series]
    decades = _round_numbers([point["error"] for point in points], (1,))
    encoding = {
        "x": alt.X("step:Q", title="step", axis=alt.Axis(grid=False, tickCount=5, format=",d")),
        "y": alt.Y(
            "error:Q",
            title="largest absolute error",
            scale=alt.Scale(type="log", domain=[decades[0], decades[-1]]),
            axis=alt.Axis(format=".0e", values=decades),
        ),
        "color": alt.Color("series:N", scale=alt.Scale(domain=names, range=colors), legend=None),
        "strokeDash": alt.StrokeDash("series:N", scale=alt.Scale(domain=names, range=dashes), legend=None),
        "tooltip": [alt.Tooltip("series:N"), alt.Tooltip("step:Q", format=",d"), alt.Tooltip("error:Q", format=".2e")],
    }
    lines = alt.Chart(alt.InlineData(values=list(points))).mark_line(strokeWidth=1.5).encode(**encoding)
    return _plain(lines.properties(width="container", height=300))


def _latency_spec(points: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    alt = require("altair", extra="report", purpose="writing --html")
    at = _round_numbers([point["ms"] for point in points], (1, 2, 5))
    scale = alt.Scale(type="log", nice=False, padding=12)
    encoding = {
        "x": alt.X("ms:Q", title="ms per call", scale=scale, axis=alt.Axis(values=at, format="~g")),
        "y": alt.Y("backend:N", title=None, sort=list(names)),
        "tooltip": [alt.Tooltip("backend:N"), alt.Tooltip("percentile:Q"), alt.Tooltip("ms:Q", format=".4~g")],
    }
    base = alt.Chart(alt.InlineData(values=list(points))).encode(**encoding)
    ticks = base.mark_tick(color=_COLORS[0], opacity=0.55, thickness=1.5, height=22)
    shape = alt.Shape("mark:N", scale=alt.Scale(domain=list(_MARKED.values()), range=list(_SHAPES)), legend=None)
    marks = base.transform_filter("datum.mark != ''").mark_point(color=_COLORS[1], filled=True, size=70, opacity=1)
    layers = alt.layer(ticks, marks.encode(shape=shape))
    return _plain(layers.properties(width="container", height=_ROW_HEIGHT * len(names)))


def _round_numbers(values: Sequence[float], leading: Sequence[int]) -> list[float]:
    """The ticks of a logarithmic axis that holds all values: the numbers of these leading digits."""
    least, most = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [digit * 10.0**decade for decade in range(least, max(most, least + 1) + 1) for digit in leading]


def _plain(chart: Any) -> dict[str, Any]:
    """Without the defaults of Altair's theme, which would overrule the page's own colours."""
    spec: dict[str, Any] = chart.to_dict()
    spec.pop("config", None)
    return spec
