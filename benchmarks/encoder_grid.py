"""ONNX Runtime CPU on exported encoders against PyTorch eager: `python benchmarks/encoder_grid.py`.

One layer, one direction, input size = H, one thread, initial states given; times of `nn.LSTM`/`nn.GRU` under
`torch.inference_mode()` and of `rnnx_runtime.Session.run`, in alternating rounds.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rounds import compare, write_result

import rnnx
import rnnx_runtime
from rnnx.cli.render import print_table

TIMES, BATCHES, HIDDEN = (1, 20, 100), (1, 8, 32), (64, 256, 512)


def main() -> None:
    """Measure the grid, write it down and print the ratios."""
    torch.set_num_threads(1)
    cells = [cell for kind in ("LSTM", "GRU") for hidden in HIDDEN for cell in _measured(kind, hidden)]
    write_result("encoder_grid", "python benchmarks/encoder_grid.py", {"threads": 1, "cells": cells})
    rows = []
    for first in range(0, len(cells), len(TIMES)):
        group = cells[first : first + len(TIMES)]
        ratios = [f"{cell['ratio']:.2f}" for cell in group]
        rows.append((group[0]["kind"], group[0]["H"], group[0]["B"], *ratios))
    columns = ("", ">H", ">B", *(f">T={time}" for time in TIMES))
    print_table("PyTorch eager time / ONNX Runtime time, one thread", columns, rows)
    print(f"smallest ratio {min(cell['ratio'] for cell in cells):.2f}")


def _measured(kind: str, hidden: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(hidden, hidden).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        rnnx.export(module, path)
        with rnnx_runtime.load(path, "ort-cpu") as session:
            return [_cell(kind, hidden, module, session, b, t) for b in BATCHES for t in TIMES]


def _cell(
    kind: str, hidden: int, module: torch.nn.Module, session: rnnx_runtime.Session, batch: int, time: int
) -> dict[str, Any]:
    x = np.random.default_rng(0).standard_normal((time, batch, hidden), np.float32)
    state = session.initial_state(batch)
    eager = _eager(module, x, state)
    result = compare(eager, lambda: session.run(x, state))
    return {
        "kind": kind,
        "H": hidden,
        "B": batch,
        "T": time,
        "pytorch_us": round(result.base_us, 1),
        "onnxruntime_us": round(result.other_us, 1),
        "ratio": round(result.ratio, 3),
    }


def _eager(module: torch.nn.Module, x: np.ndarray[Any, Any], state: rnnx_runtime.State) -> Callable[[], object]:
    inputs, h = torch.from_numpy(x), torch.from_numpy(state.h)
    hx = h if state.c is None else (h, torch.from_numpy(state.c))

    def call() -> object:
        with torch.inference_mode():
            return module(inputs, hx)

    return call


if __name__ == "__main__":
    main()
