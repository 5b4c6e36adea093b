"""Push latency below saturation and goodput above it, of a pool: `python benchmarks/pool_latency.py`.

Pushes come at random times (Poisson) that do not wait for results; a push's latency counts from the time it was due, so
that a late generator counts against the pool. Generator, collector and pool share one interpreter.
"""

import queue
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rounds import write_result

import rnnx
from rnnx.cli.render import print_table
from rnnx_runtime import PoolOptions, PoolOverloaded, PoolStream, Push, StreamPool, load

SIZE = HIDDEN = 256
BATCH = 64
SECONDS = 3.0
ROUNDS = 3
TICK_S = 100e-6
"""How long the generator sleeps when nothing is due; a busy wait would hold the interpreter."""


def main() -> None:
    """Measure 64 and 256 streams, write the figures down and print them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lstm.onnx"
        rnnx.export(torch.nn.LSTM(SIZE, HIDDEN), path)
        rows = [_row(path, streams) for streams in (64, 256)]
    figures = {"hidden_size": HIDDEN, "batch": BATCH, "rows": rows}
    write_result("pool_latency", "python benchmarks/pool_latency.py", figures)
    below, above = (">70 %: p50 ms", ">p99 ms", ">p99 / step"), (">150 %: of peak", ">p99 ms", ">refused")
    columns = ("streams", ">peak/s", ">step ms", *below, *above)
    print_table("A pool around saturation, LSTM H=256", columns, [tuple(map(str, row.values())) for row in rows])


def _row(path: Path, streams: int) -> dict[str, Any]:
    x = np.random.default_rng(0).standard_normal((streams, SIZE), np.float32)
    step_s = _batched_step_s(path)
    with StreamPool(load(path, "ort-cpu"), PoolOptions(max_batch=BATCH, max_queue=8 * BATCH)) as pool:
        opened = [pool.open() for _ in range(streams)]
        peaks, below, above = [], [], []
        _peak(opened, x)
        for _ in range(ROUNDS):
            peaks.append(_peak(opened, x))
            below.append(_offered(opened, x, 0.7 * peaks[-1]))
            above.append(_offered(opened, x, 1.5 * peaks[-1]))
    peak = statistics.median(peaks)
    p99_ms = statistics.median(figures["p99_ms"] for figures in below)
    return {
        "streams": streams,
        "peak_per_s": round(peak),
        "step_ms": round(1e3 * step_s, 3),
        "p50_ms": round(statistics.median(figures["p50_ms"] for figures in below), 2),
        "p99_ms": round(p99_ms, 2),
        "p99_steps": round(p99_ms / (1e3 * step_s), 1),
        "goodput": round(statistics.median(f["per_s"] / at for f, at in zip(above, peaks, strict=True)), 2),
        "overloaded_p99_ms": round(statistics.median(figures["p99_ms"] for figures in above), 2),
        "refused": round(statistics.median(figures["refused"] for figures in above), 2),
    }


def _batched_step_s(path: Path) -> float:
    """One step of a whole batch, nothing beside it."""
    with load(path, "ort-cpu") as session:
        x, state = np.zeros((BATCH, SIZE), np.float32), session.initial_state(BATCH)
        times = []
        for _ in range(200):
            start = time.perf_counter()
            session.step(x, state)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def _peak(streams: list[PoolStream], x: Any) -> float:
    """Pushes a second when each stream pushes again as soon as it has its output."""
    waiting = [stream.submit(frame) for stream, frame in zip(streams, x, strict=True)]
    pushes, start = len(streams), time.perf_counter()
    while time.perf_counter() < start + 1.0:
        for index, stream in enumerate(streams):
            waiting[index].result()
            waiting[index] = stream.submit(x[index])
        pushes += len(streams)
    for push in waiting:
        push.result()
    return pushes / (time.perf_counter() - start)


def _offered(streams: list[PoolStream], x: Any, per_s: float) -> dict[str, float]:
    """Offer pushes at a rate for some time."""
    made: queue.SimpleQueue[tuple[float, Push] | None] = queue.SimpleQueue()
    latencies: list[float] = []
    collector = threading.Thread(target=_collect, args=(made, latencies))
    collector.start()
    due = np.cumsum(np.random.default_rng(0).exponential(1 / per_s, int(per_s * SECONDS))).tolist()
    refused, start = 0, time.perf_counter()
    for index, at in enumerate(due):
        while (now := time.perf_counter() - start) < at:
            time.sleep(TICK_S)
        if now > SECONDS:
            break
        stream = index % len(streams)
        try:
            made.put((start + at, streams[stream].submit(x[stream])))
        except PoolOverloaded:
            refused += 1
    made.put(None)
    collector.join()
    seconds = time.perf_counter() - start
    return {
        "per_s": len(latencies) / seconds,
        "p50_ms": 1e3 * float(np.percentile(latencies, 50)),
        "p99_ms": 1e3 * float(np.percentile(latencies, 99)),
        "refused": refused / (refused + len(latencies)),
    }


def _collect(made: "queue.SimpleQueue[tuple[float, Push] | None]", latencies: list[float]) -> None:
    while (item := made.get()) is not None:
        due, push = item
        push.result()
        latencies.append(time.perf_counter() - due)


if __name__ == "__main__":
    main()
