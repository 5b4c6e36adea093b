"""Blocking pushes from one thread and from many beside a `step` each: `python benchmarks/combining.py`.

Each thread pushes into a stream of its own and waits. In turns: a blocking push, which runs its step itself where it
finds nobody at work; `submit` and `result`, which hand it to the pool's thread; and `Session.step` in the same threads.
Goals: one thread takes at most 1.3 times a step, 8 and 64 threads are 1.5 times as fast as with hand-overs alone.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pool_clients import run_together
from rounds import write_result

import rnnx
from rnnx.cli.render import print_table
from rnnx_runtime import PoolStream, Session, StreamPool, load

SIZES, THREADS, ROUNDS, ROUND_SECONDS = (64, 256), (1, 8, 64), 7, 0.3
COLUMNS = {
    "hidden": ">H",
    "client_threads": ">threads",
    "step_us": ">step µs",
    "push_us": ">push µs",
    "handed_us": ">handed over µs",
    "of_step": ">of step",
    "times_handed": ">times as fast as handed over",
}


def main() -> None:
    """Measure each size and number of threads, write them down and print them."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for hidden in SIZES for row in _rows(Path(folder) / f"{hidden}.onnx", hidden)]
    write_result("combining", "python benchmarks/combining.py", {"threads": 1, "rows": rows})
    table = [tuple(str(row[name]) for name in COLUMNS) for row in rows]
    print_table("A blocking push, LSTM", tuple(COLUMNS.values()), table)


def _rows(path: Path, hidden: int) -> list[dict[str, Any]]:
    rnnx.export(torch.nn.LSTM(hidden, hidden), path)
    frame = np.random.default_rng(0).standard_normal(hidden, np.float32)
    with load(path, "ort-cpu") as session:
        return [
            {"hidden": hidden, "client_threads": count, **_figures(path, session, frame, count)} for count in THREADS
        ]


def _figures(path: Path, session: Session, frame: Any, count: int) -> dict[str, float]:
    with StreamPool(load(path, "ort-cpu")) as pool:
        streams = [pool.open() for _ in range(count)]
        kinds: dict[str, list[Callable[[int], None]]] = {
            "step": [partial(_steps, session, frame)] * count,
            "push": [partial(_pushes, stream, frame) for stream in streams],
            "handed": [partial(_handed_over, stream, frame) for stream in streams],
        }
        times: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(ROUNDS):
            for name, clients in kinds.items():
                times[name].append(_push_us(clients))
    found = {f"{name}_us": round(statistics.median(own), 1) for name, own in times.items()}
    return found | {
        "of_step": round(_ratio(times["push"], times["step"]), 2),
        "times_handed": round(_ratio(times["handed"], times["push"]), 2),
    }


def _push_us(clients: list[Callable[[int], None]]) -> float:
    start = time.perf_counter()
    run_together([partial(client, 4) for client in clients], 4 * len(clients))
    rounds = max(4, int(4 * ROUND_SECONDS / (time.perf_counter() - start)))
    return run_together([partial(client, rounds) for client in clients], rounds * len(clients)).push_us


def _steps(session: Session, frame: Any, rounds: int) -> None:
    x, state = frame[None], session.initial_state(1)
    for _ in range(rounds):
        _, state = session.step(x, state)


def _pushes(stream: PoolStream, frame: Any, rounds: int) -> None:
    for _ in range(rounds):
        stream.push(frame)


def _handed_over(stream: PoolStream, frame: Any, rounds: int) -> None:
    for _ in range(rounds):
        stream.submit(frame).result()


def _ratio(over: list[float], under: list[float]) -> float:
    return statistics.median(first / second for first, second in zip(over, under, strict=True))


if __name__ == "__main__":
    main()
