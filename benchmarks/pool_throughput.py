"""A pool beside one step call a push and beside bare batched runs: `python benchmarks/pool_throughput.py`.

Each client thread keeps a push of every stream of its share under way: it takes a stream's result and submits that
stream's next frame, one stream after the other. The same threads call `Session.step` once a push in the contender's
turn. A bare run is `InferenceSession.run` with a batch that stands ready and outputs that are thrown away. Contenders
take turns within a run; figures are medians over the rounds, in microseconds of wall time a push.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from pool_clients import (
    HIDDEN,
    BareRuns,
    Load,
    LoneSteps,
    PooledPushes,
    export_lstm,
    frames_of,
    run_together,
    shares,
)
from rounds import write_result

from rnnx.cli.render import print_table
from rnnx.timing.other_work import watch_other_work, work_from_text
from rnnx_runtime import PoolMetrics, PoolOptions, StreamPool, load

ROUNDS = 7
ROUND_SECONDS = 0.25
FULL_BATCH = 64
COLUMNS = {
    "input_size": "input",
    "streams": ">streams",
    "client_threads": ">clients",
    "session_threads": ">threads",
    "max_batch": ">most",
    "batch": ">batch",
    "step_us": ">step",
    "pool_us": ">pool",
    "bare_us": ">bare",
    "bare_64_us": ">bare 64",
    "times_step": ">times step",
    "share_of_bare": ">of bare",
    "model_above_bare_us": ">model above",
    "handling_us": ">handling",
    "waiting_us": ">waiting",
    "client_cpu_us": ">client",
    "other_cores": ">other cores",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One combination of sizes."""

    input_size: int
    session_threads: int
    streams: int
    client_threads: int
    max_batch: int


def main() -> None:
    """Measure every combination, write the figures down and print them."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {size: export_lstm(Path(folder), size) for size in (64, HIDDEN)}
        rows = [_row(paths[case.input_size], case) for case in _cases()]
        callers = _callers(paths[64])
    figures = {"hidden_size": HIDDEN, "rows": rows, "other_callers": callers}
    write_result("pool_throughput", "python benchmarks/pool_throughput.py", figures)
    table = [tuple(str(row[name]) for name in COLUMNS) for row in rows]
    print_table("A push of a pool, LSTM H=256, µs", tuple(COLUMNS.values()), table)
    other = [(row["callers"], str(row["step_us"]), str(row["pool_us"]), str(row["times_step"])) for row in callers]
    print_table("Other callers, input 64", ("callers", ">step µs", ">pool µs", ">times step"), other)


def _cases() -> list[Case]:
    batches = ((64, 64), (256, 64), (256, 128))
    return [
        Case(input_size=size, session_threads=threads, streams=streams, client_threads=clients, max_batch=most)
        for size, threads, (streams, most), clients in product((64, HIDDEN), (1, 2), batches, (1, 2))
    ]


def _row(path: Path, case: Case) -> dict[str, Any]:
    frames, threads = frames_of(case.streams, case.input_size), case.session_threads
    other_work = watch_other_work()
    with load(path, "ort-cpu", threads=threads) as session, _pooled(path, frames, threads, case.max_batch) as pooled:
        lone, bare = LoneSteps(session, frames), BareRuns(path, threads)
        batch = _batch(pooled, case)
        contenders = {
            "step": _load(lone.client, case),
            "pool": _load(pooled.client, case),
            "bare": bare.batches(batch, ROUND_SECONDS),
            "bare_64": bare.batches(FULL_BATCH, ROUND_SECONDS),
        }
        before = pooled.pool.metrics()
        loads = _take_turns(contenders)
        spent = _spent(before, pooled.pool.metrics())
    return {**vars(case), **_figures(loads, spent), "other_cores": work_from_text(other_work()).cores}


def _figures(loads: dict[str, list[Load]], spent: dict[str, float]) -> dict[str, float]:
    times = {name: [load.push_us for load in of_name] for name, of_name in loads.items()}
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        "batch": round(spent["batch"], 1),
        **{f"{name}_us": round(value, 2) for name, value in median.items()},
        "times_step": round(_ratio(times["step"], times["pool"]), 2),
        "share_of_bare": round(_ratio(times["bare"], times["pool"]), 3),
        "model_above_bare_us": round(spent["model_us"] - median["bare"], 2),
        "handling_us": round(spent["handling_us"], 2),
        "waiting_us": round(median["pool"] - spent["model_us"] - spent["handling_us"], 2),
        "client_cpu_us": round(statistics.median(load.client_cpu_us for load in loads["pool"]), 2),
    }


@contextmanager
def _pooled(path: Path, frames: Sequence[Any], threads: int = 1, most: int = FULL_BATCH) -> Iterator[PooledPushes]:
    with StreamPool(load(path, "ort-cpu", threads=threads), PoolOptions(max_batch=most)) as pool:
        pooled = PooledPushes(pool, frames)
        yield pooled
        pooled.close()


def _batch(pooled: PooledPushes, case: Case) -> int:
    """The pool's mean batch under this load, which is a warm-up too."""
    before = pooled.pool.metrics()
    _load(pooled.client, case)()
    return round(_spent(before, pooled.pool.metrics())["batch"])


def _load(client: Callable[[Sequence[int], int], None], case: Case) -> Callable[[], Load]:
    """A run of the case's clients that takes about `ROUND_SECONDS`."""
    parts = shares(case.streams, case.client_threads)

    def run(rounds: int) -> Load:
        return run_together([partial(client, part, rounds) for part in parts], case.streams * rounds)

    rounds = _fitting(run)
    return lambda: run(rounds)


def _fitting(run: Callable[[int], Load], few: int = 4) -> int:
    run(few)
    return max(few, int(few * ROUND_SECONDS / run(few).seconds))


def _take_turns(contenders: dict[str, Callable[[], Load]]) -> dict[str, list[Load]]:
    loads: dict[str, list[Load]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, contender in contenders.items():
            loads[name].append(contender())
    return loads


def _ratio(over: Sequence[float], under: Sequence[float]) -> float:
    return statistics.median(first / second for first, second in zip(over, under, strict=True))


def _spent(before: PoolMetrics, after: PoolMetrics) -> dict[str, float]:
    """The mean batch, and microseconds a push of the model's steps and of the pool's own work beside them."""
    pushes = after.pushes - before.pushes
    return {
        "batch": pushes / (after.steps - before.steps),
        "model_us": 1e6 * (after.step_s.total - before.step_s.total) / pushes,
        "handling_us": 1e6 * (after.handling_s.total - before.handling_s.total) / pushes,
    }


def _callers(path: Path) -> list[dict[str, Any]]:
    """The other ways to push: a blocking thread for each stream, and the tasks of an event loop."""
    rows = [_caller(path, streams, "threads") for streams in (1, 8, 64)]
    return rows + [_caller(path, streams, "tasks") for streams in (1, 64, 256, 1000)]


def _caller(path: Path, streams: int, kind: str) -> dict[str, Any]:
    frames = frames_of(streams, 64)
    case = Case(
        input_size=64,
        session_threads=1,
        streams=streams,
        client_threads=streams if kind == "threads" else 1,  # an event loop's steps run one after the other
        max_batch=FULL_BATCH,
    )
    other_work = watch_other_work()
    with load(path, "ort-cpu") as session, _pooled(path, frames) as pooled:
        pool = pooled.blocking_client if kind == "threads" else lambda _, rounds: pooled.event_loop(rounds)
        loads = _take_turns({"step": _load(LoneSteps(session, frames).client, case), "pool": _load(pool, case)})
    step, pushed = ([load.push_us for load in loads[name]] for name in ("step", "pool"))
    return {
        "callers": f"{streams} {kind}",
        "step_us": round(statistics.median(step), 1),
        "pool_us": round(statistics.median(pushed), 1),
        "times_step": round(_ratio(step, pushed), 2),
        "other_cores": work_from_text(other_work()).cores,
    }


if __name__ == "__main__":
    main()
