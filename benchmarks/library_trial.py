"""One exporter on one class of a library in this process: `library_trial.py EXPORTER CLASS FOLDER`.

Prints one JSON object: right, wrong or refused, with the reason. What is right is what `exporter_trial.py` says: as
close to the module in float64 as PyTorch's own float32, at the example's size and at three others.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
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
    """Try one exporter, and print what it gave."""
    exporter, name, folder = sys.argv[1:]
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    path = Path(folder) / f"{exporter}.onnx"
    print(json.dumps(_tried(CLASSES[name], EXPORTERS[exporter], path)))


def _tried(own: LibraryClass, export: Callable[[LibraryClass, Path], object], path: Path) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        export(own, path)
    except Exception as error:
        return {"verdict": "refused", "detail": reason_of(error)}
    seconds = round(time.perf_counter() - start, 2)
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
