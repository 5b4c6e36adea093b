"""One random model exported in this process and held, in plain ONNX Runtime, against float64 PyTorch at several sizes.

A model is right where the file gives what PyTorch gives at every size that PyTorch takes; narrow where the file's
contract says that it takes fewer sizes; refused where the export says why in one message; else it is wrong.
"""

import copy
import importlib.util
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from drawn_models.sources import Drawn
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import rnnx
from rnnx.graphs.export_report import ExportReport
from rnnx.modules.model_options import ModelOptions
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import RnnxError

Array = NDArray[Any]

EXAMPLE = (2, 9)
SIZES = ((2, 9, 0), (1, 1, 0), (3, 7, 0), (2, 23, 0), (1, 10, 0), (4, 2, 0), (3, 12, 3))
"""B, T, and by how much each length is shorter than T."""

CHUNKS = (4, 1, 5)

_FOLDERS = re.compile(r"\S*/(?=[\w.]+\.(py|onnx)\b)")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """right, narrow, refused, wrong, or void where PyTorch itself cannot run the model; and why."""

    verdict: str
    detail: str
    seconds: float


class _WrongError(Exception):
    """What the file gives is not the model's."""


class _NarrowError(Exception):
    """The contract takes fewer sizes than the model."""


def tried(drawn: Drawn, folder: Path, name: str) -> Verdict:
    """Write the model's source, import it, export it and hold the file against it."""
    start = time.perf_counter()
    verdict, detail = _tried(drawn, folder, name)
    detail = _FOLDERS.sub("", detail)
    return Verdict(verdict=verdict, detail=detail, seconds=round(time.perf_counter() - start, 1))


def _tried(drawn: Drawn, folder: Path, name: str) -> tuple[str, str]:
    source = folder / f"{name}.py"
    source.write_text(drawn.source, encoding="utf-8")
    own = _imported(source)
    try:
        _results(own["factory"](), own["inputs"](*EXAMPLE), torch.float32)
    except Exception as error:
        return "void", f"{type(error).__name__}: {error}"
    with tempfile.TemporaryDirectory() as kept:
        path = Path(kept) / "model.onnx"
        try:
            options = ModelOptions(stateful=drawn.states is not None)
            report = rnnx.export(own["factory"](), path, options, example_inputs=own["inputs"](*EXAMPLE))
        except RnnxError as error:
            return "refused", str(error)
        except Exception as error:
            return (
                "wrong",
                f"crash: {type(error).__name__}: {error} at {traceback.format_exc().splitlines()[-3].strip()}"[:500],
            )
        try:
            _judge(drawn, own, path, report)
        except _WrongError as error:
            return "wrong", str(error)
        except _NarrowError as error:
            return "narrow", str(error)
    return "right", ""


def _imported(source: Path) -> dict[str, Any]:
    """What a file defines, imported as Python would."""
    spec = importlib.util.spec_from_file_location(source.stem, source)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[source.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


def _judge(drawn: Drawn, own: Mapping[str, Any], path: Path, report: ExportReport) -> None:
    """Compare at every size; an axis of one row that PyTorch drops in a `squeeze` may stay where the report says so.

    Raises:
        _WrongError: a result differs, or the file fails.
        _NarrowError: all sizes that the contract takes are right, and PyTorch takes more.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    contract, squeezed = report.contract, any("squeeze" in note for note in report.notes)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    lifted = len(session.get_inputs()) - len(own["inputs"](*EXAMPLE))
    if drawn.states is not None and lifted != drawn.states:
        raise _WrongError(f"{lifted} states lifted, the model has {drawn.states}")
    narrow = []
    for batch, length, cut in SIZES if drawn.ragged else SIZES[:-1]:
        case, inputs = f"B={batch}, T={length}{', short' if cut else ''}", own["inputs"](batch, length, cut)
        truth = _truth(own["factory"], inputs)
        if truth is None:
            continue
        outside = _outside(contract, inputs)
        if outside:
            narrow.append(f"{case}: {outside}")
            continue
        found = _run(session, contract, inputs, batch, case)
        _compare(found[: len(truth[0])], *truth, case, squeezed=squeezed)
    if drawn.states is not None:
        _judge_chunks(own, session, contract)
    if narrow:
        raise _NarrowError("; ".join(narrow))


def _judge_chunks(own: Mapping[str, Any], session: Any, contract: Contract) -> None:
    """A sequence in chunks with the states carried gives what the whole gives."""
    if contract.streaming.kind != "exact":
        raise _NarrowError(f"streams {contract.streaming.kind}: {contract.streaming.reason}")
    whole, single = _truth(own["factory"], own["inputs"](2, sum(CHUNKS))) or ([], [])
    inputs, names = _named(own["inputs"](2, sum(CHUNKS))), [pair.input for pair in contract.states]
    axes = {spec.name: spec.dims.index("T") for spec in contract.inputs if "T" in spec.dims}
    parts, start, state = [], 0, dict[str, Array]()
    for size in CHUNKS:
        chunk = {
            name: value.narrow(axes[name], start, size) if name in axes else value for name, value in inputs.items()
        }
        outputs = _run(session, contract, chunk, 2, f"chunk of {size} from {start}", state)
        named = dict(zip((spec.name for spec in contract.outputs), outputs, strict=True))
        state = {pair.input: named[pair.output] for pair in contract.states}
        parts.append(outputs)
        start += size
    assert names
    for place, (true, theirs) in enumerate(zip(whole, single, strict=True)):
        dims = contract.outputs[place].dims
        joined = np.concatenate([part[place] for part in parts], dims.index("T")) if "T" in dims else parts[-1][place]
        _compare([joined], [true], [theirs], f"chunks of {CHUNKS}", squeezed=False)


def _run(
    session: Any, contract: Contract, inputs: Mapping[str, Any], batch: int, case: str, state: Mapping[str, Array] = {}
) -> list[Array]:
    feeds = {}
    named = _named(inputs)
    for given in session.get_inputs():
        spec = next(own for own in contract.inputs if own.name == given.name)
        if given.name in named:
            feeds[given.name] = named[given.name].numpy().astype(spec.dtype)
        elif given.name in state:
            feeds[given.name] = state[given.name]
        else:
            feeds[given.name] = np.zeros([batch if dim == "B" else int(dim) for dim in spec.dims], spec.dtype)
    try:
        found: list[Array] = session.run(None, feeds)
    except Exception as error:
        raise _WrongError(f"{case}: fails: {' '.join(str(error).split())[:300]}") from None
    return found


def _outside(contract: Contract, inputs: Mapping[str, Any]) -> str:
    """What the contract says against inputs of these sizes; empty where it takes them."""
    named = _named(inputs)
    sizes: dict[str, int] = {}
    for spec in contract.inputs:
        if spec.name not in named:
            continue
        for dim, size in zip(spec.dims, named[spec.name].shape, strict=True):
            if isinstance(dim, int) and dim != size:
                return f"{spec.name} is {spec.shape}"
            if isinstance(dim, str) and sizes.setdefault(dim, size) != size:
                return f"two sizes of {dim}"
    for dim, taken in contract.ranges.items():
        if dim in sizes and taken.nearest(sizes[dim]) != sizes[dim]:
            return f"{dim} is {taken}"
    return ""


def _named(inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    return dict(inputs)


def _truth(factory: Any, inputs: Mapping[str, Any]) -> tuple[list[Array], list[Array]] | None:
    """The results in float64 and in float32; None where PyTorch takes no such sizes, or gives no numbers."""
    try:
        single = _results(factory(), inputs, torch.float32)
    except Exception:
        return None
    try:
        truth = _results(factory(), inputs, torch.float64)
    except Exception:
        truth = single
    return truth, single


def _results(module: nn.Module, inputs: Mapping[str, Any], dtype: torch.dtype) -> list[Array]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        own = copy.deepcopy(module).to(dtype)
        given = {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs.items()}
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            leaves = pytree.tree_leaves(own(**given))
        return [leaf.numpy() for leaf in leaves if isinstance(leaf, Tensor)]
    finally:
        torch.set_default_dtype(before)


def _compare(found: list[Array], truth: list[Array], single: list[Array], case: str, *, squeezed: bool) -> None:
    if len(found) != len(truth):
        raise _WrongError(f"{case}: {len(found)} results, PyTorch has {len(truth)}")
    for ours, true, theirs in zip(found, truth, single, strict=True):
        if squeezed and true.ndim < ours.ndim and 1 in ours.shape:
            ours = ours.squeeze() if ours.size == 1 else ours.reshape(true.shape) if ours.size == true.size else ours
        if ours.shape != true.shape:
            raise _WrongError(f"{case}: shape {ours.shape}, PyTorch {true.shape}")
        if true.dtype.kind != "f" or not true.size:
            if not np.array_equal(ours, true):
                raise _WrongError(f"{case}: integers differ")
            continue
        limit = max(2e-5 * max(1.0, float(np.nanmax(np.abs(true)))), 30 * float(np.nanmax(np.abs(theirs - true))))
        same = np.isnan(ours) == np.isnan(true)
        error = float(np.nanmax(np.abs(np.where(same, ours - true, np.inf))))
        if not error <= limit:
            raise _WrongError(f"{case}: off by {error:.2g}")
