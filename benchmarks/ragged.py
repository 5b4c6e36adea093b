"""Ragged batches in parts beside one run of the whole batch: `python benchmarks/ragged.py`.

An LSTM with lengths on ONNX Runtime, lengths drawn from 1 to T (mean 0.5 T) and from T/2 to T (mean 0.75 T). Goals:
0.75 of the plain call's time where the mean is at most 0.6 T and B >= 32; else at most 1.05.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rounds import compare, write_result

import rnnx
from rnnx.cli.render import print_table
from rnnx_runtime import Session, load

SIZES = ((32, 64), (32, 128), (32, 256), (64, 64), (64, 128), (64, 256), (128, 256), (8, 128))
TIME = 200
COLUMNS = {
    "rows": ">B",
    "hidden": ">H",
    "mean_length": ">mean length / T",
    "plain_us": ">plain µs",
    "of_plain": ">of plain",
}


def main() -> None:
    """Measure, write down and print."""
    rows = [row for rows, hidden in SIZES for row in _measured(rows, hidden)]
    write_result("ragged", "python benchmarks/ragged.py", {"threads": 1, "time": TIME, "rows": rows})
    table = [tuple(str(row[name]) for name in COLUMNS) for row in rows]
    print_table(f"Ragged batches, LSTM, T = {TIME}", tuple(COLUMNS.values()), table)


def _measured(rows: int, hidden: int) -> list[dict[str, Any]]:
    chance, found = np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.onnx"
        rnnx.export(torch.nn.LSTM(hidden, hidden), path, rnnx.ExportOptions(lengths=True))
        with load(path, "ort-cpu") as plain, load(path, "ort-cpu") as ragged:
            plain._ragged = None
            x = chance.standard_normal((TIME, rows, hidden), np.float32)
            for shortest in (1, TIME // 2):
                lengths = chance.integers(shortest, TIME + 1, rows)
                lengths[0] = TIME
                against = compare(_run(plain, x, lengths), _run(ragged, x, lengths))
                figures = {"mean_length": round(float(lengths.mean()) / TIME, 2), "plain_us": round(against.base_us)}
                # `compare` says how many times as fast the second is.
                found.append({"rows": rows, "hidden": hidden, **figures, "of_plain": round(1 / against.ratio, 2)})
    return found


def _run(session: Session, x: Any, lengths: Any) -> Callable[[], object]:
    return lambda: session.run(x, None, lengths)


if __name__ == "__main__":
    main()
