"""What a session adds to one call: checks of the inputs, the contract's names, the state, against bare ONNX Runtime.

Both run the same file on the same threads, side by side in alternating rounds, on an otherwise idle machine.

    python benchmarks/session_overhead.py
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from rounds import compare, write_result

import rnnx
import rnnx_runtime
from rnnx.cli.render import print_table

ENCODER_SHAPES = ((20, 1), (100, 8))
ROUNDS = 21


def main() -> None:
    """Measure encoders and steps of several sizes, write them down and print them."""
    rows = []
    for hidden in (20, 64, 256):
        modules = (torch.nn.LSTMCell, torch.nn.GRUCell, torch.nn.LSTM)
        rows += [_row("step", module(hidden, hidden), (1, hidden)) for module in modules]
        rows += [_row("step into out", module(hidden, hidden), (1, hidden)) for module in modules]
        rows += [_row("run", torch.nn.LSTM(hidden, hidden), (t, b, hidden)) for t, b in ENCODER_SHAPES]
    rows += [_row("step", torch.nn.LSTMCell(256, 256), (1, 256), threads=2)]
    rows += [_row("run", torch.nn.LSTM(256, 256), (100, 8, 256), threads=2)]
    write_result("session_overhead", "python benchmarks/session_overhead.py", {"rows": rows})
    table = [
        (r["call"], r["module"], r["x"], r["threads"], r["bare_us"], r["session_us"], r["added_us"], r["added_percent"])
        for r in rows
    ]
    columns = ("call", "module", "x", ">threads", ">bare µs", ">session µs", ">added µs", ">added %")
    print_table("Session.run and Session.step over a bare InferenceSession.run", columns, table)


def _row(call: str, module: torch.nn.Module, shape: tuple[int, ...], threads: int = 1) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        rnnx.export(module, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        bare = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        with rnnx_runtime.load(path, "ort-cpu", threads=threads) as session:
            figures = _overhead(bare, session, call, shape)
    return {"call": call, "module": type(module).__name__, "x": str(shape), "threads": threads, **figures}


def _overhead(bare: Any, session: rnnx_runtime.Session, call: str, shape: tuple[int, ...]) -> dict[str, float]:
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    state = session.initial_state(shape[-2])
    fed = x[None] if len(shape) < len(session.spec.inputs[0].dims) else x
    feeds = {"x": fed, "h0": state.h} | ({} if state.c is None else {"c0": state.c})
    names = [spec.name for spec in session.spec.outputs]
    result = compare(lambda: bare.run(names, feeds), _call(session, call, x, state), rounds=ROUNDS)
    added = result.base_us * (1 / result.ratio - 1)
    return {
        "bare_us": round(result.base_us, 1),
        "session_us": round(result.other_us, 1),
        "added_us": round(added, 1),
        "added_percent": round(100 * added / result.base_us, 1),
    }


def _call(
    session: rnnx_runtime.Session, call: str, x: np.ndarray[Any, Any], state: rnnx_runtime.State
) -> Callable[[], object]:
    if call == "run":
        return lambda: session.run(x, state)
    if call == "step":
        return lambda: session.step(x, state)
    y = np.empty((x.shape[0], session.spec.layer().projection_size), np.float32)
    return lambda: session.step(x, state, out=y)


if __name__ == "__main__":
    main()
