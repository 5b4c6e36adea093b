"""Push latency below saturation and goodput above it, of a pool: `python benchmarks/pool_latency.py`.

Pushes come at random times (Poisson), to one stream after the other, whether results are there or not. A latency
counts from the time at which its push was due, so that whatever holds up the generator counts too; beside it stands the
latency from the call that submitted it, which is the pool's part. Generator, collector and pool are threads of one
interpreter, as a service's event loop and its pool are. The peak is what one client thread gets that submits a stream's
next frame as soon as it has a result.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pool_clients import HIDDEN, BareRuns, PooledPushes, export_lstm, frames_of, run_together
from rounds import write_result

from rnnx.cli.render import print_table
from rnnx.timing.other_work import watch_other_work, work_from_text
from rnnx_runtime import CompletionQueue, PoolOptions, PoolOverloaded, Push, StreamPool, load

BATCH = 64
MAX_QUEUE = 8 * BATCH
SHARES = (0.5, 0.7, 0.9, 1.5)
SECONDS = 2.0
PEAK_SECONDS = 0.5
ROUNDS = 5
EVERY = 16
"""Pushes after which a client that is behind looks for results, too."""
COLUMNS = {
    "streams": "streams",
    "share": ">offered",
    "peak_per_s": ">peak/s",
    "made": ">made",
    "goodput": ">done",
    "refused": ">refused",
    "batch": ">batch",
    "step_ms": ">step ms",
    "p50_ms": ">p50 ms",
    "p99_ms": ">p99 ms",
    "p99_steps": ">p99 / step",
    "taken_p99_ms": ">from call",
    "other_cores": ">other cores",
}


@dataclass(kw_only=True)
class Offered:
    """What came of pushes that were offered at a rate; times in seconds."""

    per_s: float
    seconds: float = 0.0
    refused: int = 0
    latencies: list[float] = field(default_factory=list)
    """Of each push that was taken, from the time it was due."""
    taken: list[float] = field(default_factory=list)
    """The same from the call that submitted it."""
    batch: float = 0.0

    @property
    def made(self) -> int:
        """Pushes that the generator came to make."""
        return self.refused + len(self.latencies)


def main() -> None:
    """Measure 64 and 256 streams, write the figures down and print them."""
    with tempfile.TemporaryDirectory() as folder:
        path = export_lstm(Path(folder), HIDDEN)
        rows = [row for streams in (64, 256) for row in _rows(path, streams)]
    figures = {"hidden_size": HIDDEN, "max_batch": BATCH, "max_queue": MAX_QUEUE, "rows": rows}
    write_result("pool_latency", "python benchmarks/pool_latency.py", figures)
    table = [tuple(str(row[name]) for name in COLUMNS) for row in rows]
    print_table("A pool around saturation, LSTM H=256", tuple(COLUMNS.values()), table)


def _rows(path: Path, streams: int) -> list[dict[str, Any]]:
    """One row for each share of the peak; each round measures the peak, a bare step and every share."""
    bare = BareRuns(path, 1).batches(BATCH, PEAK_SECONDS / 2)
    offered: dict[float, list[Offered]] = {share: [] for share in SHARES}
    peaks: list[float] = []
    steps: list[float] = []
    other_work = watch_other_work()
    with StreamPool(load(path, "ort-cpu"), PoolOptions(max_batch=BATCH, max_queue=MAX_QUEUE)) as pool:
        pooled = PooledPushes(pool, frames_of(streams, HIDDEN))
        _peak(pooled, streams)
        for _ in range(ROUNDS):
            peaks.append(_peak(pooled, streams))
            steps.append(1e-6 * BATCH * bare().push_us)
            for share in SHARES:
                offered[share].append(_offer(pooled, share * peaks[-1]))
    cores = work_from_text(other_work()).cores
    return [
        {"streams": streams, "share": share, **_figures(of_share, peaks, steps), "other_cores": cores}
        for share, of_share in offered.items()
    ]


def _figures(rounds: Sequence[Offered], peaks: Sequence[float], steps: Sequence[float]) -> dict[str, Any]:
    """Medians over the rounds."""

    def percentile_s(share: int, values: Callable[[Offered], list[float]]) -> list[float]:
        return [float(np.percentile(values(one), share)) for one in rounds]

    p99 = percentile_s(99, lambda one: one.latencies)
    done = [len(one.latencies) / one.seconds for one in rounds]
    return {
        "peak_per_s": round(statistics.median(peaks)),
        "made": round(statistics.median(one.made / SECONDS / at for one, at in zip(rounds, peaks, strict=True)), 2),
        "goodput": round(statistics.median(per_s / peak for per_s, peak in zip(done, peaks, strict=True)), 2),
        "refused": round(statistics.median(one.refused / one.made for one in rounds), 3),
        "batch": round(statistics.median(one.batch for one in rounds), 1),
        "step_ms": round(1e3 * statistics.median(steps), 3),
        "p50_ms": round(1e3 * statistics.median(percentile_s(50, lambda one: one.latencies)), 2),
        "p99_ms": round(1e3 * statistics.median(p99), 2),
        "p99_steps": round(statistics.median(late / step for late, step in zip(p99, steps, strict=True)), 1),
        "taken_p99_ms": round(1e3 * statistics.median(percentile_s(99, lambda one: one.taken)), 2),
    }


def _peak(pooled: PooledPushes, streams: int) -> float:
    """Pushes a second when each stream pushes again as soon as it has its output."""

    def run(rounds: int) -> float:
        return run_together([partial(pooled.client, range(streams), rounds)], streams * rounds).push_us

    return 1e6 / run(max(2, int(PEAK_SECONDS * 1e6 / (run(8) * streams))))


def _offer(pooled: PooledPushes, per_s: float) -> Offered:
    """Offer pushes at a rate for some time, and wait for those that were taken."""
    offered, queue = Offered(per_s=per_s), CompletionQueue()
    before = pooled.pool.metrics()
    start = time.perf_counter()
    taken = _generate(pooled.submits(queue), queue, offered, start)
    while len(offered.latencies) < taken:
        _collect(queue.take(), offered)
    offered.seconds = time.perf_counter() - start
    after = pooled.pool.metrics()
    offered.batch = (after.pushes - before.pushes) / (after.steps - before.steps)
    return offered


def _generate(submits: Sequence[Callable[..., Push]], queue: CompletionQueue, offered: Offered, start: float) -> int:
    """Submit each push when it is due, or at once when that is past; take results meanwhile, and say how many come."""
    gaps = np.random.default_rng(0).exponential(1 / offered.per_s, int(offered.per_s * SECONDS))
    taken = 0
    for index, due in enumerate((start + np.cumsum(gaps)).tolist()):
        while (now := time.perf_counter()) < due:
            _collect(queue.take(due - now), offered)
        if now > start + SECONDS:
            break
        if not index % EVERY:
            _collect(queue.take(0), offered)
        try:
            submits[index % len(submits)](tag=(due, now))
            taken += 1
        except PoolOverloaded:
            offered.refused += 1
    return taken


def _collect(pushes: Sequence[Push], offered: Offered) -> None:
    for push in pushes:
        push.result()
        now = time.perf_counter()
        due, called = push.tag
        offered.taken.append(now - called)
        offered.latencies.append(now - due)


if __name__ == "__main__":
    main()
