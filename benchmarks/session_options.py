"""What ONNX Runtime's options cost and save on a CPU, each against the defaults of `rnnx_runtime.load`.

Bare `InferenceSession.run` with the same feeds, in alternating rounds on an otherwise idle machine; and for sessions of
several threads how busy they keep the processor while a service makes a step every 2 ms.

    python benchmarks/session_options.py
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from rounds import compare, write_result

import rnnx
from rnnx.cli.render import print_table

ROUNDS = 15
PACE_S = 0.002
PACED_STEPS = 500


@dataclass(frozen=True, kw_only=True)
class Options:
    """One setting of a session, named by what differs from the defaults."""

    name: str
    threads: int = 1
    arena: bool = True
    level: str = "ALL"
    spinning: bool = True


DEFAULTS = Options(name="defaults: 1 thread, arena, all")
OTHERS = (
    Options(name="2 threads", threads=2),
    Options(name="2 threads, no spinning", threads=2, spinning=False),
    Options(name="no arena", arena=False),
    Options(name="graph: extended", level="EXTENDED"),
    Options(name="graph: basic", level="BASIC"),
    Options(name="graph: disabled", level="DISABLED"),
)


def main() -> None:
    """Compare every setting at every shape, write the figures down and print them."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, module, shape in _models():
            path = Path(folder) / f"{len(rows)}.onnx"
            rnnx.export(module, path)
            x = np.random.default_rng(0).standard_normal(shape, np.float32)
            rows += [{"model": name, "x": str(shape), **_row(path, x, options)} for options in OTHERS]
    write_result("session_options", "python benchmarks/session_options.py", {"defaults": DEFAULTS.name, "rows": rows})
    table = [
        (r["model"], r["x"], r["options"], r["defaults_us"], r["options_us"], r["speed_up"], r["load_ms"], r["busy"])
        for r in rows
    ]
    columns = ("model", "x", "options", ">defaults µs", ">options µs", ">speed-up", ">load ms", ">busy cores")
    print_table("ONNX Runtime's options against the defaults", columns, table)


def _models() -> list[tuple[str, torch.nn.Module, tuple[int, ...]]]:
    steps = [
        (f"LSTMCell {hidden}", torch.nn.LSTMCell(hidden, hidden), (batch, hidden))
        for hidden in (64, 256)
        for batch in (1, 64)
    ]
    return [*steps, *((f"LSTM {hidden}", torch.nn.LSTM(hidden, hidden), (100, 8, hidden)) for hidden in (64, 256))]


def _row(path: Path, x: np.ndarray[Any, Any], options: Options) -> dict[str, Any]:
    base, _ = _session(path, DEFAULTS)
    other, load_ms = _session(path, options)
    feeds = _feeds(base, x)
    result = compare(lambda: base.run(None, feeds), lambda: other.run(None, feeds), rounds=ROUNDS)
    return {
        "options": options.name,
        "defaults_us": round(result.base_us, 1),
        "options_us": round(result.other_us, 1),
        "speed_up": round(result.ratio, 2),
        "load_ms": round(load_ms, 1),
        "busy": round(_busy_cores(other, feeds), 2),
    }


def _session(path: Path, options: Options) -> tuple[Any, float]:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = options.threads, 1
    settings.enable_cpu_mem_arena = options.arena
    level = "ORT_DISABLE_ALL" if options.level == "DISABLED" else f"ORT_ENABLE_{options.level}"
    settings.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    return session, 1000 * (time.perf_counter() - start)


def _feeds(session: Any, x: np.ndarray[Any, Any]) -> dict[str, Any]:
    feeds = {"x": x}
    for value in session.get_inputs()[1:]:
        feeds[value.name] = np.zeros(
            [size if isinstance(size, int) else x.shape[-2] for size in value.shape], "float32"
        )
    return feeds


def _busy_cores(session: Any, feeds: dict[str, Any]) -> float:
    """Processor seconds per second while a call is made every 2 ms, or as often as calls take."""
    wall, busy = time.perf_counter(), time.process_time()
    for number in range(1, PACED_STEPS + 1):
        session.run(None, feeds)
        time.sleep(max(0.0, wall + number * PACE_S - time.perf_counter()))
    return (time.process_time() - busy) / (time.perf_counter() - wall)


if __name__ == "__main__":
    main()
