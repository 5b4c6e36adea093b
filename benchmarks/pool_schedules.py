"""Whole models in a pool under random schedules, against lone sessions: `python benchmarks/pool_schedules.py`.

64 streams of a tagger, a keyword spotter with int64 tokens and a second input, a policy on a cell, a trained decoder's
step with its attention over a memory of each stream's own. Counts the arrays of results that equal bit for bit.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rounds import write_result

import rnnx
from rnnx.cli.render import print_table

ROOT = Path(__file__).resolve().parents[1]
KINDS = {"tagger": "scorer", "keyword spotter": "keywords", "policy": "policy"}
"""By the name here, the kind of the tests' suite of every model."""


@click.command()
@click.option("--schedules", default=1_000, help="of each model")
def main(schedules: int) -> None:
    """Export, push, compare, write down and print."""
    sys.path[:0] = [str(ROOT), str(ROOT / "models")]
    from tests.rnnx_runtime.pool.random_pushes import Agreement, push_at_random

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path, frames in _models(Path(folder)):
            total = Agreement()
            for seed in range(schedules):
                one = push_at_random(path, frames, seed)
                total.results += one.results
                total.bitwise += one.bitwise
                total.largest = max(total.largest, one.largest)
            rows.append({"model": name, "schedules": schedules, **asdict(total)})
    write_result("pool_schedules", f"python benchmarks/pool_schedules.py --schedules {schedules}", {"rows": rows})
    cells = [(row["model"], f"{row['bitwise']:,} of {row['results']:,}", f"{row['largest']:.1e}") for row in rows]
    print_table(f"{schedules:,} schedules each", ("model", ">equal bit for bit", ">largest difference"), cells)


def _models(folder: Path) -> Iterator[tuple[str, Path, Any]]:
    from tests.test_every_model import KINDS as SUITE

    from g2p.export import export_speller

    for name, kind_name in KINDS.items():
        kind, path = SUITE[kind_name], folder / f"{kind_name}.onnx"
        torch.manual_seed(7)
        rnnx.export(kind.make().eval(), path, kind.options, example_inputs=kind.example)
        yield name, path, kind.pushes
    report = export_speller(ROOT / "models/g2p-lstm", folder)
    step = report.decoders["decoder"]
    width = next(spec.dims[-1] for spec in step.contract.inputs if spec.name == "memory")
    yield "decoder's step", step.path, _phonemes(int(width))


def _phonemes(width: int) -> Any:
    """Pushes of a decoder's step: a token of each frame, and the stream's own word of 5 to 8 letters beside it."""

    def frames(index: int, time: int, seed: int) -> dict[str, Any]:
        word, chance = np.random.default_rng(index), np.random.default_rng(seed)
        letters = 5 + index % 4
        values: dict[str, Any] = {
            "token": chance.integers(1, 30, time),
            "memory": np.broadcast_to(word.standard_normal((letters, width), np.float32), (time, letters, width)),
            "lengths": np.full(time, letters - index % 2),
        }
        return {name: value[0] for name, value in values.items()} if time == 1 else values

    return frames


if __name__ == "__main__":
    main()
