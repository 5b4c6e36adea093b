"""Loops over time: one rolled graph beside torch.onnx's copies of the step and PyTorch: `python benchmarks/loops.py`.

Each model of `loop_models.py` is exported from an example of 10 and of 1,000 frames, and by torch.onnx from one of 10
and of 50, whose graph takes no other length. Exports are timed in processor seconds, without the waits of a busy
machine. Nodes count those of inner graphs too. ONNX Runtime runs both graphs side by side at the copies' own length, in
turns, on one thread; the values are held against float64 at 1, 7 and 1,000 frames.
"""

import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from loop_models import MODELS, LoopModel, model_of
from rounds import compare, write_result

import rnnx
from rnnx.cli.render import print_table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the yardstick, which is the tests' own

from tests.rnnx.tracing.eager_truth import eager_outputs, largest_error, limit_of  # noqa: E402

BATCH, COPIES, TIMES, LONG = 2, (10, 50), (1, 7, 1000), 1000
EXPORTS = 1
"""Timed exports of each length, after one to warm up."""


def main(names: Sequence[str]) -> None:
    """Measure, write down and print."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for name in names or MODELS:
            found[name] = _measured(name, Path(folder))
            print(name, found[name], file=sys.stderr, flush=True)
    if not names:
        write_result("loops", "python benchmarks/loops.py", {"batch": BATCH, "loops": found})
    print_table("Loops over time", ("loop", *(f">{own}" for own in _COLUMNS)), map(_row, found.items()))


_COLUMNS = ("nodes", "copies", "× copies at 10", "at 50", "× eager", "export s", "at 1,000", "right")


def _row(own: tuple[str, dict[str, Any]]) -> tuple[str, ...]:
    name, found = own
    copies = [found[f"copies_{time}"] for time in COPIES]
    return (
        name,
        str(found["nodes"]),
        " / ".join(str(each["nodes"]) for each in copies),
        *(str(each["time_of_rolled"]) for each in copies),
        str(found["speed_up_over_eager"]),
        str(found["export_s"]),
        str(found["export_long_s"]),
        "yes" if found["right"] else "NO",
    )


def _measured(name: str, folder: Path) -> dict[str, Any]:
    module, model = model_of(name)
    path = folder / "rolled.onnx"
    short, long = _export_seconds(module, model, path)
    rolled = _session(path)
    found: dict[str, Any] = {
        "nodes": _nodes(path),
        "bytes": path.stat().st_size,
        "export_s": short,
        "export_long_s": long,
        "right": all(_is_right(module, model, rolled, frames) for frames in TIMES),
    }
    for frames in COPIES:
        found[f"copies_{frames}"] = _beside_copies(module, model, rolled, frames, folder / f"copies{frames}.onnx")
    example = model.example(BATCH, COPIES[-1])
    with torch.inference_mode():
        eager = compare(lambda: module(*example), _call(rolled, example))
    return {**found, "speed_up_over_eager": round(eager.ratio, 2)}


def _export_seconds(module: Any, model: LoopModel, path: Path) -> tuple[float, float]:
    """Medians of exports from a short and a long example; the first of each is warm-up."""
    found: dict[int, list[float]] = {COPIES[0]: [], LONG: []}
    for _ in range(1 + EXPORTS):
        for frames, seconds in found.items():
            example = model.example(BATCH, frames)
            seconds.append(_seconds(lambda own=example: rnnx.export(module, path, example_inputs=own)))  # type: ignore[misc]
    short, long = (round(statistics.median(seconds[1:]), 2) for seconds in found.values())
    return short, long


def _beside_copies(
    module: Any, model: LoopModel, rolled: onnxruntime.InferenceSession, frames: int, path: Path
) -> dict[str, Any]:
    example = model.example(BATCH, frames)
    seconds = _seconds(
        lambda: torch.onnx.export(module, example, path, dynamo=True, verbose=False, external_data=False)
    )
    times = compare(_call(rolled, example), _call(_session(path), example))
    return {
        "nodes": _nodes(path),
        "bytes": path.stat().st_size,
        "export_s": round(seconds, 2),
        "rolled_us": round(times.base_us, 1),
        "copies_us": round(times.other_us, 1),
        "time_of_rolled": round(times.ratio, 2),
    }


def _is_right(module: Any, model: LoopModel, session: onnxruntime.InferenceSession, frames: int) -> bool:
    example = model.example(BATCH, frames)
    given = dict(zip(_names(module), example, strict=True))
    (truth,), (single,) = (eager_outputs(module, given, dtype) for dtype in (torch.float64, torch.float32))
    (own,) = _call(session, example)()
    return own.shape == truth.shape and largest_error(own, truth) <= limit_of(single, truth)


def _names(module: Any) -> list[str]:
    code = module.forward.__code__
    return list(code.co_varnames[1 : code.co_argcount])


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _call(session: onnxruntime.InferenceSession, example: Sequence[torch.Tensor]) -> Callable[[], list[Any]]:
    names = [own.name for own in session.get_inputs()]
    feeds = {name: np.asarray(own) for name, own in zip(names, example, strict=True)}
    return lambda: session.run(None, feeds)


def _nodes(path: Path) -> int:
    def count(graph: onnx.GraphProto) -> int:
        inner = [own.g for node in graph.node for own in node.attribute if own.type == onnx.AttributeProto.GRAPH]
        return len(graph.node) + sum(map(count, inner))

    return count(onnx.load(path).graph)


def _seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    main(sys.argv[1:])
