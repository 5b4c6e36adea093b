"""A stepper and a stream beside `Session.step` and a bare `InferenceSession.run`: `python benchmarks/bound_steps.py`.

All carry their state on, but for the bare run, which gets feeds that stand ready and throws its outputs away. Goals: a
stepper takes at most 0.60 of `Session.step` up to H = 128 and 0.82 at 256, and no more than the bare run.
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
from rnnx.cli.render import print_table
from rnnx_runtime import Session, load

SIZES = (32, 64, 128, 256, 512)
MODULES = (("LSTM", torch.nn.LSTM), ("LSTMCell", torch.nn.LSTMCell), ("GRU", torch.nn.GRU))
COLUMNS = {
    "module": "module",
    "hidden": ">H",
    "step_us": ">step µs",
    "stepper_us": ">stepper µs",
    "of_step": ">of step",
    "of_bare_run": ">of a bare run",
    "views_of_step": ">as views, of step",
    "push_of_step": ">push, of step",
}


def main() -> None:
    """Measure each module and size, write them down and print them."""
    torch.manual_seed(0)
    rows = [_row(name, build, hidden) for name, build in MODULES for hidden in SIZES]
    write_result("bound_steps", "python benchmarks/bound_steps.py", {"threads": 1, "batch": 1, "rows": rows})
    table = [tuple(str(row[name]) for name in COLUMNS) for row in rows]
    print_table("One step of one row, state to state", tuple(COLUMNS.values()), table)


def _row(name: str, build: Any, hidden: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        rnnx.export(build(hidden, hidden), path)
        with load(path, "ort-cpu") as session:
            return {"module": name, "hidden": hidden, **_figures(session, _bare_run(path, session, hidden), hidden)}


def _figures(session: Session, bare_run: Callable[[], object], hidden: int) -> dict[str, float]:
    frame = np.random.default_rng(0).standard_normal(hidden, np.float32)
    x, state = frame[None], session.initial_state(1)
    stepper, views, stream = session.stepper(), session.stepper(copy=False), session.stream()

    def step() -> None:
        nonlocal state
        _, state = session.step(x, state)

    bound = compare(step, lambda: stepper.step(x))
    return {
        "step_us": round(bound.base_us, 1),
        "stepper_us": round(bound.other_us, 1),
        "of_step": round(1 / bound.ratio, 3),
        "of_bare_run": round(1 / compare(bare_run, lambda: stepper.step(x)).ratio, 3),
        "views_of_step": round(1 / compare(step, lambda: views.step(x)).ratio, 3),
        "push_of_step": round(1 / compare(step, lambda: stream.push(frame)).ratio, 3),
    }


def _bare_run(path: Path, session: Session, hidden: int) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    bare: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    dims = (1,) * (len(session.spec.plain_inputs[0].dims) - 1)
    feeds = {"x": np.ones((*dims, hidden), np.float32), **session.initial_state(1)}
    return lambda: bare.run(None, feeds)


if __name__ == "__main__":
    main()
