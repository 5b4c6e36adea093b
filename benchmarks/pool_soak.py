"""A pool under fire, every output checked, and what it holds at the end: `python benchmarks/pool_soak.py`.

Threads that hop between streams, tasks of an event loop with cancellations and deadlines among them, and a soak whose
memory, threads and file descriptors must not grow: on one small LSTM, and threads and soak on a whole model whose
convolutions carry frames too. Then more of the tests' random schedules, on layers and on models that look ahead.
"""

import asyncio
import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rounds import write_result
from torch import Tensor, nn
from torch.nn import functional

import rnnx
from rnnx.cli.render import print_table
from rnnx_runtime import DeadlineExceeded, PoolOptions, PoolStream, StreamPool, load

Array = NDArray[np.float32]

INPUT, HIDDEN, LONGEST = 5, 8, 4096
STATEFUL = rnnx.ModelOptions(stateful=True)
ROUNDS_A_VISIT, ROUNDS_A_SWAP = 100, 2_000
BOUND = 1e-6
"""The most that an output may differ from the reference, a lone run over the same frames."""


@click.command()
@click.option("--threads", default=32)
@click.option("--pushes", default=10_000, help="of each thread")
@click.option("--streams", default=500)
@click.option("--tasks", default=2_000)
@click.option("--steps", default=1_000_000, help="of the soak")
@click.option("--schedules", default=1_000, help="of each model")
@click.option("--no-write", is_flag=True, help="print, and leave the results as they are")
def main(threads: int, pushes: int, streams: int, tasks: int, steps: int, schedules: int, no_write: bool) -> None:
    """Run the parts; exit code 1 where an output was wrong or something was left behind."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lstm.onnx"
        rnnx.export(torch.nn.LSTM(INPUT, HIDDEN), path)
        frames, outputs = _reference(path, (slice(None), None))
        spotter = Path(folder) / "spotter.onnx"
        rnnx.export(Spotter().eval(), spotter, STATEFUL, example_inputs=(torch.randn(2, 20, INPUT),))
        whole = _reference(spotter, (None, slice(None)))
        parts = {
            "hammer": _hammer(path, frames, outputs, threads, pushes, streams),
            "hammer, whole model": _hammer(spotter, *whole, threads, pushes, streams),
            "event_loop": _event_loop(path, frames, outputs, tasks),
            "soak": _soak(path, frames, outputs, steps),
            "soak, whole model": _soak(spotter, *whole, steps),
            **_schedules(Path(folder), schedules),
        }
    if not no_write:
        write_result("pool_soak", "python benchmarks/pool_soak.py", parts)
    rows = [(part, name, str(value)) for part, figures in parts.items() for name, value in figures.items()]
    print_table("A pool under fire", ("part", "what", ">figure"), rows)
    faults = ("wrong", "failed", "slots_lost", "threads_left")
    sys.exit(any(figures.get(fault) for figures in parts.values() for fault in faults))


class Spotter(nn.Module):
    """Causal convolutions, a layer and a head over frames `(B, T, I)`."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv1d(INPUT, HIDDEN, 5), nn.BatchNorm1d(HIDDEN)
        self.second = nn.Conv1d(HIDDEN, HIDDEN, 3, dilation=2, groups=HIDDEN)
        self.layer, self.head = nn.GRU(HIDDEN, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 4)

    def forward(self, x: Tensor) -> Tensor:
        frames = torch.relu(self.norm(self.first(functional.pad(x.transpose(1, 2), (4, 0)))))
        frames = frames + self.second(functional.pad(frames, (4, 0)))
        result: Tensor = self.head(self.layer(frames.transpose(1, 2))[0])
        return result


def _reference(path: Path, batched: Any) -> tuple[Array, Array]:
    """One long sequence of frames `(T, I)` and its outputs `(T, H)`; every stream pushes it from its start."""
    frames = np.random.default_rng(0).standard_normal((LONGEST, INPUT), np.float32)
    with load(path, "ort-cpu") as session:
        output, _ = session.run(frames[batched])
    return frames, output.reshape(LONGEST, -1)


@contextmanager
def _pool(path: Path, options: PoolOptions, figures: dict[str, Any]) -> Iterator[StreamPool]:
    """A pool, and afterwards what it did and what it left behind."""
    before = threading.active_count()
    start = time.perf_counter()
    pool = StreamPool(load(path, "ort-cpu"), options)
    yield pool
    pool.close()
    metrics = pool.metrics()
    figures |= {
        "pushes": metrics.pushes,
        "steps": metrics.steps,
        "mean_batch": round(metrics.batch_size.mean, 1),
        "rejections": {reason: count for reason, count in metrics.rejections.items() if count},
        "seconds": round(time.perf_counter() - start, 1),
        "slots_lost": options.max_streams - len(pool.slots.free),
        "threads_left": threading.active_count() - before,
    }


class _Walk:
    """A stream and how far along the sequence it is; for one thread at a time."""

    def __init__(self, stream: PoolStream) -> None:
        self.stream = stream
        self.at = 0
        self.lock = threading.Lock()

    def push(self, frames: Array, outputs: Array, count: int) -> bool:
        """Push the next frames and say whether the outputs are right; starts again at the sequence's end."""
        if self.at + count > LONGEST:
            self.stream.reset()
            self.at = 0
        part = slice(self.at, self.at + count)
        y = self.stream.push(frames[self.at] if count == 1 else frames[part])
        self.at += count
        return bool(np.abs(y - outputs[part]).max() <= BOUND)


def _hammer(path: Path, frames: Array, outputs: Array, threads: int, pushes: int, streams: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"threads": threads, "streams": streams, "wrong": 0}
    wrong: list[int] = []

    def client(seed: int) -> None:
        rng = np.random.default_rng(seed)
        mistakes = done = 0
        while done < pushes:
            walk = walks[rng.integers(streams)]
            if walk.lock.acquire(blocking=False):  # another thread has this stream now: take another stream
                with _released(walk.lock):
                    mistakes += not walk.push(frames, outputs, 1 if rng.random() < 0.9 else int(rng.integers(2, 9)))
                done += 1
        wrong.append(mistakes)

    with _pool(path, PoolOptions(max_streams=streams, max_batch=128), figures) as pool:
        walks = [_Walk(pool.open()) for _ in range(streams)]
        clients = [threading.Thread(target=client, args=(seed,)) for seed in range(threads)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        for walk in walks:
            walk.stream.close()
    return figures | {"wrong": sum(wrong), "failed": threads - len(wrong)}


@contextmanager
def _released(lock: threading.Lock) -> Iterator[None]:
    try:
        yield
    finally:
        lock.release()


def _event_loop(path: Path, frames: Array, outputs: Array, tasks: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"tasks": tasks, "wrong": 0}
    with _pool(path, PoolOptions(max_streams=tasks, max_batch=256, max_queue=2 * tasks), figures) as pool:
        figures["wrong"] = sum(asyncio.run(_tasks(pool, frames, outputs, tasks)))
    return figures


async def _tasks(pool: StreamPool, frames: Array, outputs: Array, tasks: int) -> list[int]:
    return list(await asyncio.gather(*(_task(pool, frames, outputs, seed) for seed in range(tasks))))


async def _task(pool: StreamPool, frames: Array, outputs: Array, seed: int) -> int:
    """Pushes, some with hopeless deadlines, some taken back; what was not applied is pushed again. Counts mistakes."""
    rng = np.random.default_rng(seed)
    wrong = at = 0
    async with pool.open() as stream:
        while at < 50:
            count = 1 if rng.random() < 0.8 else int(rng.integers(2, 9))
            x = frames[at] if count == 1 else frames[at : at + count]
            push = asyncio.ensure_future(stream.push(x, timeout_s=1e-4 if rng.random() < 0.1 else None))
            if rng.random() < 0.1:
                await asyncio.sleep(0)
                push.cancel()
            before = at
            try:
                y = await push
            except DeadlineExceeded:
                continue
            except asyncio.CancelledError:
                # Taken back, or its output was certain already: the state tells which.
                state = await stream.state()
                at += count if np.abs(state.h[0, 0] - outputs[at + count - 1]).max() <= BOUND else 0
                continue
            at += count
            wrong += not np.abs(y - outputs[before:at]).max() <= BOUND
    return wrong


def _soak(path: Path, frames: Array, outputs: Array, steps: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"wrong": 0}
    with _pool(path, PoolOptions(max_streams=16), figures) as pool:
        walks = [_Walk(pool.open()) for _ in range(8)]
        wrong = _soak_steps(pool, path, walks, frames, outputs, steps // 10)
        warm = _held()
        wrong += _soak_steps(pool, path, walks, frames, outputs, steps)
        held = _held()
        for walk in walks:
            walk.stream.close()
    figures |= {
        "wrong": wrong,
        "rss_mib_warm": warm[0],
        "rss_mib_end": held[0],
        "growth_mib": round(held[0] - warm[0], 2),
    }
    figures |= {"descriptors_warm": warm[1], "descriptors_end": held[1]}
    return figures


def _soak_steps(pool: StreamPool, path: Path, walks: list[_Walk], frames: Array, outputs: Array, steps: int) -> int:
    """Push through some streams beside visitors and new sessions, until the pool has run so many steps."""
    wrong, until = 0, pool.metrics().steps + steps
    while pool.metrics().steps < until:
        for _ in range(ROUNDS_A_SWAP // ROUNDS_A_VISIT):
            for _ in range(ROUNDS_A_VISIT):
                wrong += _round(walks, frames, outputs)
            wrong += _visit(pool, frames, outputs)
        pool.swap(load(path, "ort-cpu"))
    return wrong


def _round(walks: list[_Walk], frames: Array, outputs: Array) -> int:
    """One frame of each stream, side by side; gives the number of mistakes."""
    waiting = []
    for walk in walks:
        if walk.at == LONGEST:
            walk.stream.reset()
            walk.at = 0
        waiting.append((walk.stream.submit(frames[walk.at]), walk.at))
        walk.at += 1
    return sum(_differ(push.result(), outputs[at]) for push, at in waiting)


def _visit(pool: StreamPool, frames: Array, outputs: Array) -> int:
    """A stream that stays for a short while and does all that a stream can; gives the number of mistakes."""
    with pool.open() as stream:
        wrong = _differ(stream.push(frames[:4]), outputs[:4])
        data = stream.snapshot()
        late = stream.submit(frames[4], timeout_s=0.0)
        stream.submit(frames[4:200]).cancel()
        stream.restore(data)
        wrong += _differ(stream.push(frames[4]), outputs[4])
        wrong += not (late.is_done and isinstance(late.error, DeadlineExceeded))
        stream.reset()
        wrong += _differ(stream.push(frames[0]), outputs[0])
    with pool.open(snapshot=data) as stream:
        return wrong + _differ(stream.push(frames[4]), outputs[4])


def _differ(y: Array, expected: Array) -> int:
    return int(not np.abs(y - expected).max() <= BOUND)


def _schedules(folder: Path, examples: int) -> dict[str, dict[str, Any]]:
    """The tests' schedules over several models, others each time; a stream unlike a lone session raises."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.rnnx_runtime.pool.schedules import run_schedules
    from tests.rnnx_runtime.pool.test_row_ends import MODELS

    modules: dict[str, nn.Module] = {
        "lstm": nn.LSTM(INPUT, HIDDEN),
        "gru, two layers, batch first": nn.GRU(INPUT, HIDDEN, 2, batch_first=True),
        "lstm step": nn.LSTMCell(INPUT, HIDDEN),
    }
    figures = {}
    path = folder / "schedules.onnx"
    for name, module in modules.items():
        rnnx.export(module, path)
        figures[f"schedules, {name}"] = asdict(run_schedules(path, examples, steps=50, derandomize=False))
    for name, (kind, example) in MODELS.items():
        rnnx.export(kind().eval(), path, STATEFUL, example_inputs=example)
        tally = run_schedules(path, examples, steps=50, derandomize=False, max_frames=1)
        figures[f"schedules, {name}"] = asdict(tally) | {"wrong": tally.comparisons - tally.bitwise}
    return figures


def _held() -> tuple[float, int]:
    """Resident memory in MiB and open file descriptors of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 2), len(list(Path("/proc/self/fd").iterdir()))


if __name__ == "__main__":
    main()
