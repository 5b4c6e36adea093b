"""One exporter on one model in this process, for `side_by_side.py`: `exporter_trial.py EXPORTER SHAPE FOLDER WAY`.

WAY counts the ways to ask an exporter from 0. Prints one JSON object: what came of it, the seconds of the process's
first export and the median of two more; null where there is no such way. What any exporter imports is imported before.
The yardstick is PyTorch in float64 at `SIZES`, none of which is the example's; the limit of an error is that of the
tests.
"""

import json
import re
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import nn
from torch.export import Dim
from torch.utils import _pytree as pytree

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]  # the models, and the yardstick, which is the tests' own

from tests.rnnx.tracing.eager_truth import (  # noqa: E402
    Array,
    eager_outputs,
    largest_error,
    limit_of,
    tensors_of,
)

from model_shapes import SHAPES, ModelShape  # noqa: E402

WIDTH = 64
EXAMPLE, SIZES = (2, 9), ((1, 1), (3, 7), (4, 50))
TIMED = SIZES[-1]

Export = Callable[[Path], object]


def main() -> None:
    """Try one way of asking an exporter, and print what it gave."""
    exporter, name, folder, number = sys.argv[1:]
    warnings.simplefilter("ignore")
    for package in ("onnxscript", "onnx_ir", "rnnx.tracing.exporting"):
        import_module(package)
    torch.set_num_threads(1)
    shape = SHAPES[name]
    module = shape.make(WIDTH)
    found = next(islice(WAYS[exporter](shape, module), int(number), None), None)
    if found is None:
        print("null")
        return
    way, export = found
    print(json.dumps({"way": way, **_tried(shape, export, Path(folder) / f"{exporter}-{way}.onnx")}))


def feeds_of(path: Path, shape: ModelShape, batch: int, length: int) -> dict[str, Array]:
    """A shape's inputs under the names that a file gives them, as far as it has them still."""
    inputs = shape.inputs(batch, length, WIDTH)
    arrays = dict(zip(names_of(inputs), (tensor.numpy() for tensor in tensors_of(inputs)), strict=True))
    return {own.name: arrays[own.name] for own in session_of(path).get_inputs()}


def session_of(path: Path) -> Any:
    """The file in ONNX Runtime on the CPU, with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def names_of(inputs: dict[str, Any]) -> list[str]:
    """A name for each tensor: its parameter's, with the place in a tuple."""
    return [
        f"{name}_{place}" if isinstance(value, tuple) else name
        for name, value in inputs.items()
        for place in range(len(value) if isinstance(value, tuple) else 1)
    ]


def _tried(shape: ModelShape, export: Export, path: Path) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        first = _seconds(export, path)
    except Exception as error:
        return {"verdict": "refused", "detail": reason_of(error), "export_s": round(time.perf_counter() - start, 2)}
    again = statistics.median(_seconds(export, path) for _ in range(2))
    fresh = shape.make(WIDTH)  # the exported one may hold tensors of its trace
    faults = [fault for sizes in SIZES for fault in _faults(shape, fresh, path, *sizes)]
    return {
        "verdict": "wrong" if faults else "right",
        "detail": "; ".join(faults[:1]),
        "wrong_sizes": len(faults),
        "file": path.name,
        "export_s": round(first, 2),
        "again_s": round(again, 2),
    }


def _seconds(export: Export, path: Path) -> float:
    start = time.perf_counter()
    export(path)
    return time.perf_counter() - start


def _faults(shape: ModelShape, module: nn.Module, path: Path, batch: int, length: int) -> Iterator[str]:
    """What is wrong at one size, at most one thing."""
    inputs, case = shape.inputs(batch, length, WIDTH), f"B={batch}, T={length}"
    truth, single = (eager_outputs(module, inputs, dtype) for dtype in (torch.float64, torch.float32))
    try:
        found = session_of(path).run(None, feeds_of(path, shape, batch, length))
    except Exception as error:
        yield f"fails at {case}: {reason_of(error)}"
        return
    for ours, true, theirs in zip(found, truth, single, strict=True):
        if ours.shape != true.shape:
            yield f"at {case} of shape {ours.shape}, not {true.shape}"
            return
        if largest_error(ours, true) > limit_of(theirs, true):
            yield f"at {case} off by {largest_error(ours, true):.2g}"
            return


def reason_of(error: BaseException) -> str:
    """The first line of the innermost cause, which says more than "failed to export"."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
    text = re.sub(
        r"^\[ONNXRuntimeError\] : \d+ : \w+ : |^Non-zero status code returned while | Status Message:.*", "", lines[0]
    )
    text = re.sub(r"Load model from \S+ failed: ?", "does not load: ", text)  # a path says nothing of the model
    return f"{type(error).__name__}: {text}"[:300]


def _rnnx(shape: ModelShape, module: nn.Module) -> Iterator[tuple[str, Export]]:
    from rnnx.tracing.exporting import export_model

    inputs = shape.inputs(*EXAMPLE, WIDTH)
    yield "default", lambda path: export_model(module, inputs, path)


def _dynamo(shape: ModelShape, module: nn.Module) -> Iterator[tuple[str, Export]]:
    """Named dims, then all that torch.export infers: a user who is refused the first would try the second."""
    inputs = shape.inputs(*EXAMPLE, WIDTH)
    for way in ("named", "auto"):
        dynamic = _dynamic_shapes(shape, inputs, named=way == "named")
        options = {"dynamo": True, "verbose": False, "dynamic_shapes": dynamic, "input_names": names_of(inputs)}
        yield way, partial(_torch_export, module, inputs, options)


def _torchscript(shape: ModelShape, module: nn.Module) -> Iterator[tuple[str, Export]]:
    inputs = shape.inputs(*EXAMPLE, WIDTH)
    names, outputs = names_of(inputs), _varying_outputs(shape, module)
    free = (dict(_named_axes(dims)) for dims in shape.dims)
    axes = dict(zip(names, free, strict=True)) | outputs
    options = {"dynamo": False, "dynamic_axes": axes, "input_names": names, "output_names": list(outputs)}
    yield "axes", partial(_torch_export, module, inputs, options)


def _torch_export(module: nn.Module, inputs: dict[str, Any], options: dict[str, Any], path: Path) -> None:
    torch.onnx.export(module, tuple(inputs.values()), path, **options)


def _named_axes(dims: Sequence[str | None]) -> Iterator[tuple[int, str]]:
    yield from ((axis, dim) for axis, dim in enumerate(dims) if dim)


def _dynamic_shapes(shape: ModelShape, inputs: dict[str, Any], *, named: bool) -> tuple[Any, ...]:
    """What `dynamic_shapes` wants: a dict of the free axes in the place of each tensor."""
    symbols = {name: Dim(name, min=1) for name in ("B", "T", "D1")}
    free = iter({axis: symbols[dim] if named else Dim.AUTO for axis, dim in _named_axes(dims)} for dims in shape.dims)
    return tuple(pytree.tree_map(lambda _: next(free), tuple(inputs.values())))


def _varying_outputs(shape: ModelShape, module: nn.Module) -> dict[str, dict[int, str]]:
    """The axes of each result that differ between two sizes, with a name for each."""
    one, other = (eager_outputs(module, shape.inputs(*sizes, WIDTH), torch.float32) for sizes in ((2, 9), (3, 14)))
    return {
        f"output_{place}": {axis: f"output_{place}_{axis}" for axis in _differing(first.shape, second.shape)}
        for place, (first, second) in enumerate(zip(one, other, strict=True))
    }


def _differing(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [axis for axis, (first, second) in enumerate(zip(one, other, strict=True)) if first != second]


WAYS = {"rnnx": _rnnx, "dynamo": _dynamo, "torchscript": _torchscript}

if __name__ == "__main__":
    main()
