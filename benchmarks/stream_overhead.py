"""What `Stream.push` of a frame adds to `Session.step`: `python benchmarks/stream_overhead.py`."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rounds import compare, write_result

import rnnx
import rnnx_runtime
from rnnx.cli.render import print_table
from rnnx_runtime import Session

MODULES = (("LSTMCell", torch.nn.LSTMCell), ("GRUCell", torch.nn.GRUCell), ("LSTM", torch.nn.LSTM))


def main() -> None:
    """Measure cells and an encoder of two sizes, write them down and print them."""
    rows = [_row(name, build, hidden) for hidden in (64, 256) for name, build in MODULES]
    write_result("stream_overhead", "python benchmarks/stream_overhead.py", {"threads": 1, "rows": rows})
    table = [(r["module"], r["hidden"], r["step_us"], r["push_us"], r["added_us"], r["out_added_us"]) for r in rows]
    columns = ("module", ">H", ">step µs", ">push µs", ">added µs", ">added with out µs")
    print_table("Stream.push of one frame over Session.step, state to state", columns, table)


def _row(name: str, build: Any, hidden: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        rnnx.export(build(hidden, hidden), path)
        with rnnx_runtime.load(path) as session:
            return {"module": name, "hidden": hidden, **_overhead(session, hidden)}


def _overhead(session: Session, hidden: int) -> dict[str, float]:
    """Both carry their state on, as a caller does who goes through a conversation."""
    frame = np.random.default_rng(0).standard_normal(hidden, np.float32)
    x, state, out = frame[None], session.initial_state(1), np.empty(hidden, np.float32)
    stream = session.stream()

    def step() -> None:
        nonlocal state
        _, state = session.step(x, state)

    push = compare(step, lambda: stream.push(frame), rounds=41)
    into = compare(step, lambda: stream.push(frame, out=out), rounds=41)
    return {
        "step_us": round(push.base_us, 1),
        "push_us": round(push.other_us, 1),
        "added_us": round(push.base_us * (1 / push.ratio - 1), 2),
        "out_added_us": round(into.base_us * (1 / into.ratio - 1), 2),
    }


if __name__ == "__main__":
    main()
