"""`push_many` beside bare batched runs and beside a `step` for each row: `python benchmarks/push_many.py`.

64 streams of an LSTM, in another order at each call, from a thread of the caller's that is not the main one, and from
the main one. A bare run is `InferenceSession.run` with a batch that stands ready. Goals: 0.80 of bare runs at H >= 64,
0.85 at H >= 128; 5 times as fast as a step each at H <= 256, 3.3 times at 512.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import onnxruntime
import torch
from rounds import compare, write_result

import rnnx
from rnnx.cli.render import print_table
from rnnx_runtime import Session, StreamPool, load

SIZES, ROWS, ORDERS = (64, 128, 256, 512), 64, 16
COLUMNS = {
    "hidden": ">H",
    "bare_us": ">bare run µs",
    "many_us": ">push_many µs",
    "of_bare": ">of bare",
    "times_step": ">times step",
    "of_bare_main_thread": ">of bare, main thread",
}


def main() -> None:
    """Measure each size, write them down and print them."""
    torch.manual_seed(0)
    rows = [_row(hidden) for hidden in SIZES]
    write_result("push_many", "python benchmarks/push_many.py", {"threads": 1, "streams": ROWS, "rows": rows})
    table = [tuple(str(row[name]) for name in COLUMNS) for row in rows]
    print_table(f"A frame of each of {ROWS} streams, LSTM", tuple(COLUMNS.values()), table)


def _row(hidden: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        rnnx.export(torch.nn.LSTM(hidden, hidden), path)
        x = np.random.default_rng(0).standard_normal((ROWS, hidden), np.float32)
        with load(path, "ort-cpu") as session, StreamPool(load(path, "ort-cpu")) as pool:
            bare, many, steps = _bare_run(path, x), _many(pool, x), _steps(session, x)
            found: dict[str, Any] = {"hidden": hidden}
            thread = Thread(target=lambda: found.update(_figures(bare, many, steps)))
            thread.start()
            thread.join()
            return found | {"of_bare_main_thread": round(compare(bare, many).ratio, 3)}


def _figures(bare: Callable[[], object], many: Callable[[], object], steps: Callable[[], object]) -> dict[str, float]:
    against = compare(bare, many)
    return {
        "bare_us": round(against.base_us, 1),
        "many_us": round(against.other_us, 1),
        "of_bare": round(against.ratio, 3),
        "times_step": round(compare(steps, many).ratio, 2),
    }


def _many(pool: StreamPool, x: Any) -> Callable[[], object]:
    """A call that pushes all rows, its streams in another order each time."""
    chance, streams, turn = np.random.default_rng(1), [pool.open() for _ in x], 0
    orders = [[streams[row] for row in chance.permutation(len(x))] for _ in range(ORDERS)]

    def call() -> object:
        nonlocal turn
        turn = (turn + 1) % ORDERS
        return pool.push_many(orders[turn], x).outputs

    return call


def _steps(session: Session, x: Any) -> Callable[[], object]:
    frames, states = [row[None] for row in x], [session.initial_state(1) for _ in x]

    def call() -> None:
        for row, frame in enumerate(frames):
            _, states[row] = session.step(frame, states[row])

    return call


def _bare_run(path: Path, x: Any) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    bare: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    zeros = np.zeros((1, *x.shape), np.float32)
    return lambda: bare.run(None, {"x": x[None], "h0": zeros, "c0": zeros})


if __name__ == "__main__":
    main()
