"""Exporters on classes of libraries, each in a process of its own: `library_trial.py JOBS SECONDS EXPORTER,… CLASS…`.

The processes are forked from this one, which has imported PyTorch, JOBS at a time. Of each one JSON object is printed:
right, wrong or refused, with the reason. What is right is what `exporter_trial.py` says: as close to the module in
float64 as PyTorch's own float32, at the example's size and at three others. All seconds are the processor's, because
other processes run beside it.
"""

import json
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.onnx
from exporter_trial import reason_of, session_of
from library_classes import CLASSES, LibraryClass
from tests.rnnx.tracing.eager_truth import eager_outputs, largest_error, limit_of
from torch import Tensor
from torch.export import Dim


def main() -> None:
    """Try the exporters on the classes, and print what each gave."""
    jobs, seconds, exporters, *names = sys.argv[1:]
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for package in ("onnxscript", "onnx_ir", "torch.onnx._internal.exporter._core", "rnnx.tracing.exporting"):
        import_module(package)
    waiting = [(name, exporter) for name in names for exporter in exporters.split(",")]
    running: dict[int, _Trial] = {}
    while waiting or running:
        while waiting and len(running) < int(jobs):
            trial = _Trial(*waiting.pop(0), seconds=int(seconds))
            running[trial.process] = trial
        process, status = os.wait()
        print(json.dumps(running.pop(process).result(os.waitstatus_to_exitcode(status))), flush=True)


class _Trial:
    """An exporter on a class in a forked process, which may take so many seconds of the processor."""

    def __init__(self, name: str, exporter: str, *, seconds: int) -> None:
        self._told = {"class": name, "exporter": exporter}
        self._seconds = seconds
        self._reads, writes = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
            os.write(writes, json.dumps(_quietly_tried(name, exporter)).encode())
            os._exit(0)
        os.close(writes)

    def result(self, code: int) -> dict[str, Any]:
        """What came of it, once it has ended with this code."""
        with os.fdopen(self._reads, "rb") as pipe:
            written = pipe.read()
        if written:
            return {**self._told, **json.loads(written)}
        late = code in (-signal.SIGXCPU, -signal.SIGKILL)
        detail = f"no end within {self._seconds} s" if late else f"the process ended with {code}"
        return {**self._told, "verdict": "refused", "detail": detail}


def _quietly_tried(name: str, exporter: str) -> dict[str, Any]:
    """A trial whose libraries print nothing."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    with tempfile.TemporaryDirectory() as folder:
        return _tried(CLASSES[name], EXPORTERS[exporter], Path(folder) / f"{exporter}.onnx")


def _tried(own: LibraryClass, export: Callable[[LibraryClass, Path], object], path: Path) -> dict[str, Any]:
    start = time.process_time()
    try:
        export(own, path)
    except Exception as error:
        return {"verdict": "refused", "detail": reason_of(error)}
    seconds = round(time.process_time() - start, 2)
    faults = [fault for size in (own.example, *own.sizes) for fault in _faults(own, path, *size)]
    verdict = "wrong" if faults else "right"
    return {"verdict": verdict, "detail": "; ".join(faults[:1]), "wrong_sizes": len(faults), "export_s": seconds}


def _faults(own: LibraryClass, path: Path, batch: int, length: int) -> Iterator[str]:
    """What is wrong at one size, at most one thing."""
    inputs, case = own.seeded_inputs(batch, length), f"B={batch}, T={length}"
    single = eager_outputs(own.module(), inputs, torch.float32)
    try:
        truth = eager_outputs(own.module(), inputs, torch.float64)
    except (RuntimeError, TypeError, ValueError):  # a class that makes tensors of float32 itself
        truth = single
    try:
        session = session_of(path)
        found = session.run(None, {given.name: _as_taken(given, inputs[given.name]) for given in session.get_inputs()})
    except Exception as error:
        yield f"fails at {case}: {reason_of(error)}"
        return
    if len(found) != len(truth):
        yield f"at {case} {len(found)} results, not {len(truth)}"
        return
    for ours, true, theirs in zip(found, truth, single, strict=True):
        if ours.shape != true.shape:
            yield f"at {case} of shape {ours.shape}, not {true.shape}"
            return
        if largest_error(ours, true) > limit_of(theirs, true):
            yield f"at {case} off by {largest_error(ours, true):.2g}"
            return


def _as_taken(taken: Any, value: Tensor) -> Any:
    """An input as the file takes it: integers may have become int64."""
    return value.long().numpy() if taken.type == "tensor(int64)" else value.numpy()


def _free_axes(own: LibraryClass) -> dict[str, list[int]]:
    """The axes of each input that differ from one size to another."""
    one, *others = (own.seeded_inputs(*size) for size in (own.example, *own.sizes))
    return {
        name: [
            axis
            for axis in range(tensor.ndim)
            if any(other[name].shape[axis] != tensor.shape[axis] for other in others)
        ]
        for name, tensor in one.items()
    }


def _rnnx(own: LibraryClass, path: Path) -> None:
    import rnnx

    rnnx.export(own.module(), path, example_inputs=own.seeded_inputs(*own.example))


def _dynamo(own: LibraryClass, path: Path) -> None:
    inputs, free = own.seeded_inputs(*own.example), _free_axes(own)
    shapes = {name: dict.fromkeys(axes, Dim.AUTO) for name, axes in free.items()}
    options: dict[str, Any] = {"dynamo": True, "verbose": False, "dynamic_shapes": shapes, "input_names": list(inputs)}
    torch.onnx.export(own.module(), (), path, kwargs=inputs, **options)


def _torchscript(own: LibraryClass, path: Path) -> None:
    inputs, free = own.seeded_inputs(*own.example), _free_axes(own)
    options: dict[str, Any] = {"dynamo": False, "dynamic_axes": free, "input_names": list(inputs)}
    torch.onnx.export(own.module(), tuple(inputs.values()), path, **options)


EXPORTERS: dict[str, Callable[[LibraryClass, Path], object]] = {
    "rnnx": _rnnx,
    "dynamo": _dynamo,
    "torchscript": _torchscript,
}

if __name__ == "__main__":
    main()
