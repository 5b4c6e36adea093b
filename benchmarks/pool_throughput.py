"""A pool beside one step call a push and beside bare batched runs: `python benchmarks/pool_throughput.py`.

Each client thread drives its share of the streams: it takes a stream's result and pushes that stream's next frame, one
stream after the other. The contenders take turns within a run; figures are medians over the rounds.
"""

import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from rounds import write_result

import rnnx
from rnnx.cli.render import print_table
from rnnx_runtime import PoolMetrics, PoolOptions, Session, State, StreamPool, load

HIDDEN = 256
ROUNDS = 7
ROUND_SECONDS = 0.3
Round = Callable[[], float]


def main() -> None:
    """Measure every combination, write the figures down and print them."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in (64, HIDDEN):
            path = Path(folder) / f"lstm{size}.onnx"
            rnnx.export(torch.nn.LSTM(size, HIDDEN), path)
            for threads in (1, 2):
                rows += [_row(path, size, streams, clients, threads) for streams in (64, 256) for clients in (1, 2)]
        callers = _callers(Path(folder) / "lstm64.onnx", 64)
    command = "python benchmarks/pool_throughput.py"
    write_result("pool_throughput", command, {"hidden_size": HIDDEN, "rows": rows, "other_callers": callers})
    _print(rows, callers)


def _row(path: Path, size: int, streams: int, clients: int, threads: int) -> dict[str, Any]:
    with load(path, "ort-cpu", threads=threads) as lone, load(path, "ort-cpu", threads=threads) as session:
        pool = StreamPool(session, PoolOptions(max_batch=128))
        bare, batch = _bare(path, threads), min(128, streams // 2)
        contenders: dict[str, Round] = {
            "step": lambda: _steps(lone, size, streams, clients),
            "pool": lambda: _pushes(pool, size, streams, clients),
            "bare": lambda: _bare_batches(bare, size, batch),
        }
        for contender in contenders.values():
            contender()
        before = pool.metrics()
        figures: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, contender in contenders.items():
                figures[name].append(contender())
        shares = _shares(before, pool.metrics())
        pool.close()
    step_us, pool_us, bare_us = (statistics.median(figures[name]) for name in contenders)
    return {
        "input_size": size,
        "streams": streams,
        "client_threads": clients,
        "session_threads": threads,
        "batch": round(shares["batch"], 1),
        "step_us": round(step_us, 2),
        "pool_us": round(pool_us, 2),
        "bare_us": round(bare_us, 2),
        "times_step": round(_ratio(figures["step"], figures["pool"]), 2),
        "share_of_bare": round(_ratio(figures["bare"], figures["pool"]), 3),
        "model_above_bare_us": round(shares["model_us"] - bare_us, 2),
        "handling_us": round(shares["handling_us"], 2),
        "waiting_us": round(pool_us - shares["model_us"] - shares["handling_us"], 2),
    }


def _ratio(over: list[float], under: list[float]) -> float:
    return statistics.median(first / second for first, second in zip(over, under, strict=True))


def _shares(before: PoolMetrics, after: PoolMetrics) -> dict[str, float]:
    """Microseconds a push of the model's steps and of the pool's own work beside them, from its metrics."""
    pushes = after.pushes - before.pushes
    return {
        "batch": pushes / (after.steps - before.steps),
        "model_us": 1e6 * (after.step_s.total - before.step_s.total) / pushes,
        "handling_us": 1e6 * (after.handling_s.total - before.handling_s.total) / pushes,
    }


def _steps(session: Session, size: int, streams: int, clients: int) -> float:
    """Microseconds a push, of one `step` call for each."""

    def client(share: int, until: float) -> int:
        x = _frames(share, size)
        states: list[State] = [session.initial_state(1) for _ in range(share)]
        pushes = 0
        while time.perf_counter() < until:
            for index in range(share):
                _, states[index] = session.step(x[index : index + 1], states[index])
            pushes += share
        return pushes

    return _time(client, streams // clients, clients)


def _pushes(pool: StreamPool, size: int, streams: int, clients: int) -> float:
    """Microseconds a push, of streams in a pool."""

    def client(share: int, until: float) -> int:
        x = _frames(share, size)
        opened = [pool.open() for _ in range(share)]
        waiting = [stream.submit(frame) for stream, frame in zip(opened, x, strict=True)]
        pushes = share
        while time.perf_counter() < until:
            for index, stream in enumerate(opened):
                waiting[index].result()
                waiting[index] = stream.submit(x[index])
            pushes += share
        for push in waiting:
            push.result()
        for stream in opened:
            stream.close()
        return pushes

    return _time(client, streams // clients, clients)


def _time(client: Callable[[int, float], int], share: int, clients: int) -> float:
    """Run clients side by side; microseconds of wall time a push."""
    pushes: list[int] = []
    start = time.perf_counter()
    threads = [
        threading.Thread(target=lambda: pushes.append(client(share, start + ROUND_SECONDS))) for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 1e6 * (time.perf_counter() - start) / sum(pushes)


def _bare(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _bare_batches(bare: Any, size: int, batch: int) -> float:
    """Microseconds a row of bare batched runs, whose outputs are thrown away."""
    feeds = {
        "x": _frames(batch, size)[None],
        **{name: np.zeros((1, batch, HIDDEN), np.float32) for name in ("h0", "c0")},
    }
    names = ["output", "hn", "cn"]
    rows, start = 0, time.perf_counter()
    while time.perf_counter() < start + ROUND_SECONDS:
        bare.run(names, feeds)
        rows += batch
    return 1e6 * (time.perf_counter() - start) / rows


def _frames(count: int, size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal((count, size), np.float32)


def _callers(path: Path, size: int) -> list[dict[str, Any]]:
    """The other ways to push: a blocking thread for each stream, and tasks of an event loop; mean of the rounds."""
    rows = []
    with load(path, "ort-cpu") as lone:
        for streams in (1, 8, 64):
            step_us = statistics.median(_steps(lone, size, streams, streams) for _ in range(3))
            with _pool(path) as pool:
                pool_us = statistics.median(_blocking(pool, size, streams) for _ in range(3))
            rows.append({"callers": f"{streams} threads", "step_us": round(step_us, 1), "pool_us": round(pool_us, 1)})
    for streams in (1, 64, 256, 1000):
        with _pool(path) as pool:
            pool_us = statistics.median(asyncio.run(_tasks(pool, size, streams)) for _ in range(3))
        rows.append({"callers": f"{streams} tasks", "step_us": None, "pool_us": round(pool_us, 1)})
    return rows


@contextmanager
def _pool(path: Path) -> Iterator[StreamPool]:
    with StreamPool(load(path, "ort-cpu"), PoolOptions(max_batch=128)) as pool:
        yield pool


def _blocking(pool: StreamPool, size: int, streams: int) -> float:
    def client(share: int, until: float) -> int:
        x = _frames(share, size)[0]
        pushes = 0
        with pool.open() as stream:
            while time.perf_counter() < until:
                stream.push(x)
                pushes += 1
        return pushes

    return _time(client, 1, streams)


async def _tasks(pool: StreamPool, size: int, streams: int) -> float:
    start = time.perf_counter()

    async def client() -> int:
        x = _frames(1, size)[0]
        pushes = 0
        async with pool.open() as stream:
            while time.perf_counter() < start + ROUND_SECONDS:
                await stream.push(x)
                pushes += 1
        return pushes

    pushes = await asyncio.gather(*(client() for _ in range(streams)))
    return 1e6 * (time.perf_counter() - start) / sum(pushes)


def _print(rows: list[dict[str, Any]], callers: list[dict[str, Any]]) -> None:
    times = (">step µs", ">pool µs", ">bare µs", ">times step", ">of bare", ">model above", ">handling", ">waiting")
    columns = ("input", ">streams", ">clients", ">threads", ">batch", *times)
    print_table("A push of a pool, LSTM H=256, µs", columns, [tuple(map(str, row.values())) for row in rows])
    other = [(row["callers"], str(row["step_us"] or "–"), str(row["pool_us"])) for row in callers]
    print_table("Other callers, input 64", ("callers", ">step µs", ">pool µs"), other)


if __name__ == "__main__":
    main()
