"""Ten whole models as streams, beside themselves on whole sequences: `python benchmarks/streaming_models.py [name…]`.

Each of `examples/stream_shapes.py` is exported with all that it carries from chunk to chunk. The largest error of
chunks against the whole is that of the export's proof in float64, and of 64 streams pushed in least chunks for ONNX
Runtime; TensorRT's network is verified as `rnnx verify` does it. The time of a step is that of `Session.run` with one
least chunk after the other, against one run of all of them, 64 rows and one thread. Goal: at most 1.5 times.
"""

import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from rounds import RESULTS, compare, write_result

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import rnnx
from rnnx.cli.render import print_table
from rnnx.modules.model_options import ModelOptions
from rnnx.proofs.running_model import RunningModel
from rnnx.proofs.stream_proof import prove_stream
from rnnx_runtime import Session, StreamPool, load
from rnnx_runtime.errors import RnnxError
from stream_shapes import STREAMS, StreamShape

ROWS, STEPS = 64, 32
BACKENDS = ("ort-cpu", "tensorrt-network")
COLUMNS = {
    "model": "model",
    "caches": ">caches",
    "delay": ">delay",
    "multiple": ">multiple",
    "float64": ">float64",
    "ort-cpu": ">ort-cpu",
    "tensorrt-network": ">tensorrt-network",
    "engine": "engine",
    "frame_us": ">step µs",
    "times_whole": ">times whole",
}


def main() -> None:
    """Measure each model, write them down and print them."""
    torch.set_num_threads(1)
    names = sys.argv[1:] or list(STREAMS)
    measured = _measured_before()
    for name in names:
        measured[name] = _row(name, STREAMS[name])
        rows = [measured[own] for own in STREAMS if own in measured]
        data = {"threads": 1, "rows_of_batch": ROWS, "steps": STEPS, "rows": rows}
        write_result("streaming_models", "python benchmarks/streaming_models.py", data)
    table = [tuple(str(measured[own][name]) for name in COLUMNS) for own in names]
    print_table("Streams of whole models: errors are the largest against the whole", tuple(COLUMNS.values()), table)


def _measured_before() -> dict[str, dict[str, Any]]:
    """The rows of the last run by model: those of models that are not named stay."""
    path = RESULTS / "streaming_models.json"
    return {row["model"]: row for row in json.loads(path.read_text())["rows"]} if path.exists() else {}


def _row(name: str, shape: StreamShape) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, _recorded_errors() as errors:
        path, module = Path(folder) / "model.onnx", shape.make()
        report = rnnx.export(module, path, ModelOptions(stateful=True), example_inputs=shape.inputs(2, 12))
        found = {
            "model": name,
            "caches": len(report.contract.streaming.caches),
            "delay": max(report.contract.streaming.delays.values(), default=0),
            "multiple": shape.multiple,
            "float64": _shown(max(errors)) if errors else "layers alone",
            "ort-cpu": _shown(_error_of_streams(path, shape)),
            "tensorrt-network": _error_of_network(path, module),
            "engine": _engine(path),
        }
        with load(path, "ort-cpu") as session:
            own = compare(_whole(session, shape), _steps(session, shape), rounds=9)
        return found | {
            "frame_us": round(own.other_us / STEPS, 1),
            "whole_us": round(own.base_us / STEPS, 1),
            "times_whole": round(1 / own.ratio, 2),
        }


@contextmanager
def _recorded_errors() -> Iterator[list[float]]:
    """The largest difference of each comparison that exports inside the block make of chunks and the whole."""
    found: list[float] = []

    class Recorded(RunningModel):
        def alike(self, value: Any, truth: Any) -> bool:
            if value.shape == truth.shape and value.size:
                found.append(float(np.abs(value - truth).max()))
            return super().alike(value, truth)

    def prove(model: RunningModel, *args: Any, **kwargs: Any) -> None:
        prove_stream(Recorded(**{own.name: getattr(model, own.name) for own in fields(model)}), *args, **kwargs)

    with mock.patch("rnnx.tracing.exporting.prove_stream", prove):
        yield found


def _shown(error: float) -> str:
    return f"{error:.1e}"


def _error_of_streams(path: Path, shape: StreamShape) -> float:
    """The largest difference of a pool's streams, pushed in least chunks and flushed, and the whole in float64."""
    inputs = shape.inputs(ROWS, STEPS)
    wide = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}
    with torch.no_grad():
        result: Any = shape.make().double()(**wide)
    with StreamPool(load(path, "ort-cpu")) as pool:
        names = [spec.name for spec in pool.spec.plain_outputs]
        results = result.values() if isinstance(result, dict) else result if isinstance(result, tuple) else (result,)
        streams, errors = [pool.open() for _ in range(ROWS)], []
        parts: list[list[Any]] = [[] for _ in streams]
        for chunk in _chunks(shape):
            given = [{name: value[row] for name, value in chunk.items()} for row in range(ROWS)]
            pushes = [stream.submit(own) for stream, own in zip(streams, given, strict=True)]
            for own, push in zip(parts, pushes, strict=True):
                own.append(push.result())
        for own, stream in zip(parts, streams, strict=True):
            last = stream.flush()
            own.append(last if isinstance(last, dict) else {names[0]: last})
        axes = {spec.name: _time_of(spec.dims) - 1 for spec in pool.spec.plain_outputs}
        for name, truth in zip(names, results, strict=True):
            for row, own in enumerate(parts):
                whole = np.concatenate([part[name] for part in own], axes[name])
                errors.append(float(np.abs(whole - truth[row].numpy()).max()))
    return max(errors)


def _time_of(dims: Any) -> int:
    return next(axis for axis, dim in enumerate(dims) if "T" in str(dim))


def _error_of_network(path: Path, module: torch.nn.Module) -> str:
    options = rnnx.VerifyOptions(model=module, latency=False, backends=BACKENDS)
    rows = {row.backend: row for row in rnnx.verify(path, options).parity.rows}
    if "tensorrt-network" not in rows:
        return "not here"
    row = rows["tensorrt-network"]
    return _shown(max(own.max_error for own in row.outputs)) if row.outputs else _refused(row.reason)


def _engine(path: Path) -> str:
    try:
        rnnx.build_engine(path, path.with_suffix(".plan"), rnnx.EngineOptions(tf32=False))
    except RnnxError as error:
        return _refused(error)
    return "built"


def _chunks(shape: StreamShape) -> Iterator[dict[str, Any]]:
    """The least chunk of 64 rows, step by step."""
    for step in range(STEPS):
        cut = slice(step * shape.multiple, (step + 1) * shape.multiple)
        inputs = shape.inputs(ROWS, STEPS)
        yield {
            name: np.ascontiguousarray(value.numpy()[(slice(None),) * shape.axis + (cut,)])
            for name, value in inputs.items()
        }


def _steps(session: Session, shape: StreamShape) -> Callable[[], object]:
    """A call that runs all least chunks one after the other, each from the states that the one before left."""
    chunks = list(_chunks(shape))

    def call() -> object:
        state, outputs = None, None
        for chunk in chunks:
            outputs, state = session.run(chunk, state)
        return outputs

    return call


def _whole(session: Session, shape: StreamShape) -> Callable[[], object]:
    whole = {name: value.numpy() for name, value in shape.inputs(ROWS, STEPS).items()}
    return lambda: session.run(whole)


def _refused(reason: object) -> str:
    """A refusal without the path of its file."""
    return f"refused: {re.sub(r'^/[^,]*, ', '', str(reason))}"[:120]


if __name__ == "__main__":
    main()
