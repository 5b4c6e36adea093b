"""What `rnnx_runtime.Session.run` adds to a bare `InferenceSession.run`: `python benchmarks/session_overhead.py`."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from rounds import compare, write_result

import rnnx
import rnnx_runtime
from rnnx.cli.render import print_table

ENCODER_SHAPES = ((1, 1), (20, 1), (100, 8))


def main() -> None:
    """Measure encoders and steps of several sizes, write them down and print them."""
    rows = []
    for hidden in (20, 64, 256):
        rows += [_row("LSTM", torch.nn.LSTM(hidden, hidden), (t, b, hidden)) for t, b in ENCODER_SHAPES]
        rows.append(_row("LSTMCell", torch.nn.LSTMCell(hidden, hidden), (1, hidden)))
        rows.append(_row("GRUCell", torch.nn.GRUCell(hidden, hidden), (1, hidden)))
    write_result("session_overhead", "python benchmarks/session_overhead.py", {"threads": 1, "rows": rows})
    table = [
        (r["module"], r["x"], r["bare_us"], r["session_us"], r["added_us"], f"{r['added_percent']} %") for r in rows
    ]
    columns = ("module", "x", ">bare µs", ">session µs", ">added µs", ">added")
    print_table("Session.run over a bare InferenceSession.run", columns, table)


def _row(name: str, module: torch.nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        rnnx.export(module, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        bare = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        with rnnx_runtime.load(path) as session:
            return {"module": name, "x": str(shape), **_overhead(bare, session, shape)}


def _overhead(bare: Any, session: rnnx_runtime.Session, shape: tuple[int, ...]) -> dict[str, float]:
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    state = session.initial_state(shape[-2])
    feeds = {"x": x, "h0": state.h} | ({} if state.c is None else {"c0": state.c})
    names = [spec.name for spec in session.spec.outputs]
    result = compare(lambda: bare.run(names, feeds), lambda: session.run(x, state), rounds=41)
    added = result.base_us * (1 / result.ratio - 1)
    return {
        "bare_us": round(result.base_us, 1),
        "session_us": round(result.other_us, 1),
        "added_us": round(added, 1),
        "added_percent": round(100 * added / result.base_us, 1),
    }


if __name__ == "__main__":
    main()
