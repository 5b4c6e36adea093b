"""What every whole model must pass before its files appear: the checks of a layer's, and equality on the example."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnx.errors import ExportError
from rnnx.examination import examine
from rnnx.export_checks import check_onnx
from rnnx.model_golden import EagerModel
from rnnx_runtime import load_model
from rnnx_runtime.errors import BackendError, BackendUnavailable

Array = NDArray[Any]

EXAMPLE_RATIO = 64.0
"""How many times PyTorch's own float32 error the graph's may be on the example; verify holds it to a tighter bound."""

EXAMPLE_FLOOR = 1e-4
"""The error that always passes, as a part of the largest value."""


def check_model(path: Path) -> tuple[str, ...]:
    """Run ONNX's checker and rnnx doctor; returns what was done.

    Raises:
        ExportError: one refuses the model for every backend; `engine_notes` tells what one backend refuses.
    """
    return check_onnx(path), _check_graph(path)


def _check_graph(path: Path) -> str:
    findings = examine(onnx.load(path, load_external_data=False))
    for own in findings:
        if own.severity == "error" and not own.backends:
            raise ExportError(
                f"{path.name}, {own.node}",
                got=own.message,
                expected="a graph that every backend computes right",
                remedy=f"write this part of the model in another way ({own.rule})",
            )
    return f"rnnx doctor: {', '.join(f'{own.severity} {own.rule}' for own in findings) or 'nothing found'}"


def check_example(path: Path, eager: EagerModel, tensors: Mapping[str, Tensor], *, cut: bool) -> str:
    """Run the model as a service would on the example, and compare with PyTorch; returns what was done.

    With `cut` PyTorch's results may be shorter, and only their part is compared.

    Raises:
        ExportError: ONNX Runtime refused or failed the model, or gives other values.
    """
    feeds = {name: value.numpy() for name, value in tensors.items()}
    try:
        found = _run(path, feeds)
    except BackendUnavailable as error:
        return f"ONNX Runtime: skipped, {error.got}; {error.remedy}"
    except BackendError as error:
        raise ExportError(error.subject, got=error.got, expected=error.expected, remedy=error.remedy) from error
    truth, single = (eager.outputs(feeds, dtype) for dtype in (torch.float64, torch.float32))
    for name, value in found.items():
        part = value[tuple(map(slice, truth[name].shape))] if cut else value
        _compare(name, part, truth[name], single[name])
    return "ONNX Runtime on the example: equal to PyTorch"


def _run(path: Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
    with load_model(path, "ort-cpu") as session:
        pairs = session.spec.states
        states = {pair.input: feeds[pair.input] for pair in pairs}
        outputs, state = session.run({name: feeds[name] for name in feeds.keys() - states.keys()}, states or None)
        return dict(outputs) | {pair.output: state[pair.input] for pair in pairs}


def _compare(name: str, found: Array, truth: Array, single: Array) -> None:
    if found.shape != truth.shape:
        raise _differs(name, f"shape {found.shape}", f"{truth.shape}")
    if truth.dtype.kind != "f":
        if not np.array_equal(found, truth):
            raise _differs(name, f"{int((found != truth).sum())} other values of {found.size}", "the same")
        return
    error, own = _largest_error(found, truth), _largest_error(single, truth)
    scale = max([1.0, *np.abs(truth[np.isfinite(truth)]).ravel()])
    if error > max(EXAMPLE_RATIO * own, EXAMPLE_FLOOR * scale):
        raise _differs(name, f"an error of {error:.3g}", f"about PyTorch's own float32 error, {own:.3g}")


def _largest_error(found: Array, truth: Array) -> float:
    """The largest absolute difference; infinite where one is infinite or no number and the other something else."""
    same = (found == truth) | (np.isnan(found) & np.isnan(truth))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(found.astype(np.float64) - truth))
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))


def _differs(name: str, got: str, expected: str) -> ExportError:
    return ExportError(
        f"output {name!r} on the example",
        got=got,
        expected=expected,
        remedy="where forward works on PackedSequence.data other than row by row, use the padded tensor and lengths; "
        "else this is a defect of rnnx: report it with the model",
    )
