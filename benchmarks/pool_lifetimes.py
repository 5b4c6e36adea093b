"""Pools under signals, interrupts and exits, each in a process of its own: `python benchmarks/pool_lifetimes.py`.

Every process must end with the exit code of its scenario, within its time. `lifetime_trial.py` has the scenarios.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import torch
from lifetime_trial import EXPECTED
from rounds import write_result

import rnnx
from rnnx.cli.render import print_table

TRIAL = Path(__file__).with_name("lifetime_trial.py")
TIMEOUT_S = 120.0
COLUMNS = ("scenario", ">exit code", ">right", ">other codes", ">hung", ">median s", ">worst s")


@click.command()
@click.option("--pools", default=300, show_default=True, help="processes in all, spread over the scenarios")
@click.option("--processes", default=2, show_default=True, help="at once")
@click.option("--no-write", is_flag=True, help="print the table and write no results")
@click.option("--scenario", "names", multiple=True, help="one of the scenarios; all when left out")
def main(pools: int, processes: int, no_write: bool, names: tuple[str, ...]) -> None:
    """Run every scenario with as many seeds as there are pools for, and fail where one ended otherwise."""
    chosen = {scenario.__name__: code for scenario, code in EXPECTED.items()}
    chosen = {name: chosen[name] for name in names or chosen}
    trials = [(list(chosen)[number % len(chosen)], number // len(chosen)) for number in range(pools)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(processes) as runners:
        model = Path(folder) / "step.onnx"
        rnnx.export(torch.nn.LSTMCell(64, 256), model)
        ends = list(runners.map(lambda trial: (trial[0], *_end(trial[0], trial[1], model)), trials))
    rows = [_row(name, code, [end[1:] for end in ends if end[0] == name]) for name, code in chosen.items()]
    right = sum(row["right"] for row in rows)
    if not (no_write or names):
        write_result(
            "pool_lifetimes", "python benchmarks/pool_lifetimes.py", {"pools": pools, "right": right, "rows": rows}
        )
    print_table(
        f"{right} of {pools} pools ended with their exit code", COLUMNS, [tuple(map(str, row.values())) for row in rows]
    )
    sys.exit(0 if right == pools else 1)


def _end(name: str, seed: int, model: Path) -> tuple[int | None, float, str]:
    """The exit code (None of a process that hung), seconds, and the end of what it said."""
    start = time.perf_counter()
    command = [sys.executable, str(TRIAL), name, str(seed), str(model)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=_quiet())
    except subprocess.TimeoutExpired:
        print(f"{name}, seed {seed}: hung", file=sys.stderr)
        return None, TIMEOUT_S, ""
    code = {scenario.__name__: code for scenario, code in EXPECTED.items()}[name]
    if done.returncode != code:
        print(f"{name}, seed {seed}: {done.returncode}\n{done.stderr[-2000:]}", file=sys.stderr)
    return done.returncode, time.perf_counter() - start, done.stderr


def _quiet() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def _row(name: str, code: int, ends: Iterable[tuple[int | None, float, str]]) -> dict[str, Any]:
    ends = list(ends)
    seconds = [end[1] for end in ends] or [0.0]
    others = sorted({end[0] for end in ends if end[0] not in (code, None)})
    return {
        "scenario": name,
        "code": code,
        "right": sum(end[0] == code for end in ends),
        "other_codes": " ".join(map(str, others)),
        "hung": sum(end[0] is None for end in ends),
        "median_s": round(statistics.median(seconds), 2),
        "worst_s": round(max(seconds), 2),
    }


if __name__ == "__main__":
    main()
