"""The metrics that a scrape reads, through the text format and its own parser."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import rnnx
import rnnx_runtime
from rnnx_runtime import BackendUnavailable, InputError, PoolOptions, PoolOverloaded, StreamPool
from rnnx_runtime.pool.prometheus import PoolCollector

FRAMES = 12


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[StreamPool]:
    """A pool that has run twelve frames in nine pushes, and has refused a stream and a frame."""
    path = tmp_path / "step.onnx"
    rnnx.export(torch.nn.LSTMCell(5, 8), path)
    with StreamPool(rnnx_runtime.load(path), PoolOptions(max_streams=2)) as pool, pool.open() as stream:
        for _ in range(8):
            stream.push(np.zeros(5, np.float32))
        stream.push(np.zeros((4, 5), np.float32))
        with pytest.raises(InputError):
            stream.push(np.full(5, np.nan, np.float32))
        other = pool.open()
        cancelled = other.submit(np.zeros(5, np.float32), timeout_s=0.0)
        with pytest.raises(rnnx_runtime.DeadlineExceeded):
            cancelled.result()
        with pytest.raises(PoolOverloaded):
            pool.open()
        stream.reset()  # waits until all before is counted
        yield pool


def scraped(pool: StreamPool, prefix: str = "rnnx_pool") -> dict[str, float]:
    """Every sample of a scrape by its name and labels."""
    registry = CollectorRegistry()
    registry.register(PoolCollector(pool, prefix))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        sample.name + "".join(f"{{{name}={value}}}" for name, value in sample.labels.items()): sample.value
        for family in families
        for sample in family.samples
    }


def test_gauges_and_counters_are_the_metrics_of_the_pool(pool: StreamPool) -> None:
    samples, metrics = scraped(pool), pool.metrics()
    assert samples["rnnx_pool_streams"] == metrics.streams == 2
    assert samples["rnnx_pool_capacity"] == 2
    assert samples["rnnx_pool_queue_depth"] == 0
    assert samples["rnnx_pool_pushes_total"] == 9
    assert samples["rnnx_pool_frames_total"] == samples["rnnx_pool_steps_total"] == FRAMES
    for name in ("swaps", "stalls", "evictions"):
        assert samples[f"rnnx_pool_{name}_total"] == 0


def test_rejections_have_their_reason(pool: StreamPool) -> None:
    samples = scraped(pool)
    found = {name: value for name, value in samples.items() if "rejections" in name}
    reasons = pool.metrics().rejections
    assert found == {f"rnnx_pool_rejections_total{{reason={reason}}}": count for reason, count in reasons.items()}
    assert reasons["late"] == 1


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("batch_size", FRAMES),
        ("wait_seconds", 9),
        ("step_seconds", FRAMES),
        ("handling_seconds", FRAMES),
        ("latency_seconds", 9),
    ],
)
def test_histograms_count_from_below_up_to_all(pool: StreamPool, name: str, count: int) -> None:
    samples = scraped(pool)
    buckets = [value for key, value in samples.items() if key.startswith(f"rnnx_pool_{name}_bucket")]
    assert buckets == sorted(buckets)
    assert samples[f"rnnx_pool_{name}_bucket{{le=+Inf}}"] == samples[f"rnnx_pool_{name}_count"] == count
    assert samples[f"rnnx_pool_{name}_sum"] > 0


def test_a_bucket_holds_what_its_bound_says(pool: StreamPool) -> None:
    samples = scraped(pool)
    assert samples["rnnx_pool_batch_size_bucket{le=1.0}"] == FRAMES
    assert samples["rnnx_pool_batch_size_sum"] == FRAMES
    assert "rnnx_pool_latency_seconds_bucket{le=2.5e-05}" in samples


def test_the_prefix_tells_pools_apart(pool: StreamPool) -> None:
    assert all(name.startswith("spelling_") for name in scraped(pool, "spelling"))


def test_a_missing_package_is_one_error_with_the_command(pool: StreamPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(BackendUnavailable, match=r"no prometheus-client.*pip install 'rnnx\[prometheus\]'"):
        PoolCollector(pool)
