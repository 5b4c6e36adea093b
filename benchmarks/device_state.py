"""One step of an LSTM cell on a GPU whose state stays there, beside PyTorch's: `python benchmarks/device_state.py`.

Every call takes `x (B, H)` from host memory and brings `y (B, H)` back; `h` and `c` stay on the device unless a row
says otherwise. It needs an NVIDIA GPU, a CUDA build of PyTorch, and rnnx[gpu]; an engine is a row where its library is.
"""

import gc
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import torch
from rounds import write_result

import rnnx
import rnnx_runtime
from rnnx.building.engine import build_engine
from rnnx.cli.render import print_table
from rnnx.engines.engine_options import EngineOptions
from rnnx_runtime import RnnxError, State
from rnnx_runtime.files.sidecar import Flavor, Range

HIDDEN_SIZES = (64, 256)
BATCHES = (1, 64, 256)
FLAVORS: tuple[Flavor, ...] = ("tensorrt", "tensorrt-rtx")
ROUNDS, CALLS = 30, 100

Step = Callable[[], Any]
"""One step from the state that the step before it left; gives y in host memory."""


def main() -> None:
    """Measure every backend in turns, write the figures down and print them; exit 1 where this host cannot."""
    if not torch.cuda.is_available():
        sys.exit("device_state: PyTorch sees no CUDA device; nothing was measured and nothing written")
    torch.backends.cudnn.allow_tf32 = False  # every row in float32, as rnnx's sessions are
    try:
        rows = [row for hidden in HIDDEN_SIZES for batch in BATCHES for row in _rows(hidden, batch)]
    except RnnxError as error:
        sys.exit(f"device_state: {error}; nothing was written")
    gpu = {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda, "rounds": ROUNDS, "calls": CALLS}
    write_result("device_state", "python benchmarks/device_state.py", {**gpu, "rows": rows})
    columns = ("H", "B", "step", ">p50 µs", ">p95 µs", ">rows/s")
    keys = ("hidden", "batch", "step", "p50_us", "p95_us", "rows_per_s")
    print_table(f"One LSTM step on {gpu['gpu']}", columns, [tuple(row.get(key, "") for key in keys) for row in rows])


def _rows(hidden: int, batch: int) -> list[dict[str, Any]]:
    cell = torch.nn.LSTMCell(hidden, hidden)
    x = np.random.default_rng(0).standard_normal((batch, hidden), np.float32)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        steps, absent = _steps(cell, x, Path(folder) / "step.onnx", stack)
        times = _measured(steps)
    sizes = {"hidden": hidden, "batch": batch}
    measured = [{**sizes, "step": name, **_figures(each, batch)} for name, each in times.items()]
    return measured + [{**sizes, "step": name, "absent": reason} for name, reason in absent.items()]


def _steps(cell: torch.nn.LSTMCell, x: Any, model: Path, stack: ExitStack) -> tuple[dict[str, Step], dict[str, str]]:
    """The steps by name, and why others are missing."""
    rnnx.export(cell, model)
    on_cuda = stack.enter_context(rnnx_runtime.load(model, "ort-cuda"))
    steps = {"ort-cuda": _carried(on_cuda, x), "ort-cuda, state through the host": _carried_through_host(on_cuda, x)}
    absent: dict[str, str] = {}
    for flavor in FLAVORS:
        try:
            engine = stack.enter_context(rnnx_runtime.load(_plan(model, flavor, len(x))))
        except RnnxError as error:
            absent[flavor] = str(error)
        else:
            steps[flavor] = _carried(engine, x)
            steps[f"{flavor}, state through the host"] = _carried_through_host(engine, x)
    steps["PyTorch eager"] = _torch_eager(cell.cuda(), x)
    steps["PyTorch CUDA graph"] = _torch_graph(cell.cuda(), x)
    return steps, absent


def _plan(model: Path, flavor: Flavor, batch: int) -> Path:
    plan = model.with_name(f"{flavor}.plan")
    profile = {"B": Range(min=1, opt=batch, max=batch)}
    return build_engine(model, plan, EngineOptions(flavor=flavor, profiles=(profile,), tf32=False)).path


def _carried(session: rnnx_runtime.Session, x: Any) -> Step:
    state: State | None = None

    def step() -> Any:
        nonlocal state
        y, state = session.step(x, state)
        return y

    return step


def _carried_through_host(session: rnnx_runtime.Session, x: Any) -> Step:
    state: State | None = None

    def step() -> Any:
        nonlocal state
        y, after = session.step(x, state)
        state = State(after.h, after.c)
        return y

    return step


def _torch_eager(cell: torch.nn.LSTMCell, x: Any) -> Step:
    state: Any = None

    def step() -> Any:
        nonlocal state
        with torch.inference_mode():
            state = cell(torch.from_numpy(x).to(cell.weight_ih.device), state)
            return state[0].cpu().numpy()

    return step


def _torch_graph(cell: torch.nn.LSTMCell, x: Any) -> Step:
    """https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs."""
    there = torch.from_numpy(x).cuda()
    h, c = (torch.zeros(len(x), cell.hidden_size, device="cuda") for _ in range(2))

    def carry() -> None:
        after = cell(there, (h, c))
        h.copy_(after[0])
        c.copy_(after[1])

    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # what the first calls do once is no part of the graph
            carry()
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            carry()
        h.zero_()
        c.zero_()

    def step() -> Any:
        there.copy_(torch.from_numpy(x))
        graph.replay()
        return h.cpu().numpy()

    return step


def _measured(steps: dict[str, Step]) -> dict[str, list[float]]:
    """Seconds of a call in each round, the steps in turns, after all were seen to give the same."""
    first = [[step() for _ in range(CALLS)] for step in steps.values()]  # the warm-up too
    for name, ys in zip(steps, first, strict=True):
        np.testing.assert_allclose(ys, first[0], atol=1e-4, err_msg=name)
    times: dict[str, list[float]] = {name: [] for name in steps}
    gc.collect()
    gc.disable()
    try:
        for _ in range(ROUNDS):
            for name, step in steps.items():
                times[name] += _seconds(step)
    finally:
        gc.enable()
    return times


def _seconds(step: Step) -> list[float]:
    marks = [time.perf_counter()]
    for _ in range(CALLS):
        step()
        marks.append(time.perf_counter())
    return [end - start for start, end in pairwise(marks)]


def _figures(times: list[float], batch: int) -> dict[str, float]:
    p50, p95 = median(times), quantiles(times, n=20)[-1]
    return {"p50_us": round(1e6 * p50, 1), "p95_us": round(1e6 * p95, 1), "rows_per_s": round(batch / p50)}


if __name__ == "__main__":
    main()
