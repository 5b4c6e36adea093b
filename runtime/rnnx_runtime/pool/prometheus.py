"""A pool's metrics for Prometheus: read when a scrape asks for them, never while a push runs.

Names and units: https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from rnnx_runtime.errors import BackendUnavailable
from rnnx_runtime.pool.metrics import HistogramSnapshot
from rnnx_runtime.pool.stream_pool import StreamPool

if TYPE_CHECKING:
    from prometheus_client.core import HistogramMetricFamily, Metric

_GAUGES = {
    "streams": "Streams open now.",
    "capacity": "Streams that may be open at once.",
    "queue_depth": "Pushes accepted and not settled.",
}
_COUNTERS = {
    "pushes": "Pushes that gave an output.",
    "frames": "Frames that ran.",
    "steps": "Steps of the backend.",
    "swaps": "Models that took over from another.",
    "stalls": "Steps that hung.",
    "evictions": "Idle streams that lost their place.",
}
_HISTOGRAMS = {
    "batch_size": ("batch_size", "Streams in one step."),
    "wait_s": ("wait_seconds", "From a push to the step that ran its last frames."),
    "step_s": ("step_seconds", "One step of the backend."),
    "handling_s": ("handling_seconds", "The pool's own time beside a step."),
    "latency_s": ("latency_seconds", "From a push to its output."),
}


class PoolCollector:
    """A collector of one pool: `registry.register(PoolCollector(pool))`.

    Raises:
        BackendUnavailable: prometheus-client is not installed.
    """

    def __init__(self, pool: StreamPool, prefix: str = "rnnx_pool") -> None:
        _client()
        self._pool = pool
        self._prefix = prefix

    def collect(self) -> Iterator["Metric"]:
        """The pool's metrics as they are now; `prometheus_client` calls it for each scrape."""
        core, metrics = _client(), self._pool.metrics()
        for name, text in _GAUGES.items():
            yield core.GaugeMetricFamily(f"{self._prefix}_{name}", text, getattr(metrics, name))
        for name, text in _COUNTERS.items():
            yield core.CounterMetricFamily(f"{self._prefix}_{name}", text, getattr(metrics, name))
        rejections = core.CounterMetricFamily(
            f"{self._prefix}_rejections", "Pushes without an output.", labels=["reason"]
        )
        for reason, count in metrics.rejections.items():
            rejections.add_metric([reason], count)
        yield rejections
        for field, (name, text) in _HISTOGRAMS.items():
            yield self._histogram(f"{self._prefix}_{name}", text, getattr(metrics, field))

    def _histogram(self, name: str, text: str, values: HistogramSnapshot) -> "HistogramMetricFamily":
        bounds = [*map(str, values.bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(values.counts), strict=True))  # Prometheus counts from below
        family: HistogramMetricFamily = _client().HistogramMetricFamily(name, text, buckets, values.total)
        return family


def _client() -> Any:
    try:
        from prometheus_client import core  # an extra: a pool works without it
    except ImportError as error:
        raise BackendUnavailable(
            "metrics for Prometheus",
            got=f"no prometheus-client ({error})",
            expected="it to be installed",
            remedy="pip install 'rnnx[prometheus]', or read StreamPool.metrics()",
        ) from None
    return core
