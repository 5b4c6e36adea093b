"""ONNX's own backend tests against what TensorRT parsed: `python benchmarks/backend_tests.py [--only PART]`.

Every data set that the package onnx ships or generates (`onnx.backend.test`): the nodes', the small models', and those
converted from PyTorch. Each graph goes through TensorRT's importer and the network is evaluated in NumPy, as the row
`tensorrt-network` does, and its outputs are compared with the test's by the test's own tolerances. An outcome is one of

    equal, refused (by the importer), not evaluated (a layer that the row does not know), wrong, crashed (the importer).

`wrong` means that TensorRT reads a graph otherwise than ONNX, or that the evaluator does: `KNOWN` says which, and why.
"""

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, load_tensor
from rounds import write_result

from rnnx.cli.render import print_table
from rnnx.tensorrt_network.importer import import_graph
from rnnx_runtime.errors import BackendError, BackendUnavailable

OUTCOMES = ("equal", "refused", "not evaluated", "wrong", "crashed")

CONTROL_FLOW = ("LSTM", "GRU", "RNN", "Loop", "Scan", "If", "SequenceMap")

_LAYOUT = "TensorRT ignores layout=1"
_POOL = "TensorRT keeps a last window that lies outside the tensor"
_UINT8 = "TensorRT takes uint8 for int8"

KNOWN: dict[str, str] = {
    **dict.fromkeys(("test_gru_batchwise", "test_lstm_batchwise", "test_simple_rnn_batchwise"), _LAYOUT),
    **dict.fromkeys(("test_averagepool_2d_ceil", "test_maxpool_2d_ceil"), _POOL),
    "test_loop11": "TensorRT gives an input that is a Loop's condition the name of the body's",
    "test_quantizelinear": _UINT8,
    "test_resize_downsample_sizes_linear_pytorch_half_pixel": "TensorRT reads another place where an axis comes to one",
    "test_spacetodepth_crd": "TensorRT ignores the mode",
    "test_triu": "TensorRT does not take Trilu's default, the upper triangle",
}
"""Why a data set is wrong, by the start of its name; each is a rule of `rnnx doctor`."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A graph with inputs and the outputs that they should give, in the graph's order."""

    name: str
    model: ModelProto
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    rtol: float
    atol: float

    @property
    def data(self) -> bytes:
        """The graph's bytes."""
        return bytes(self.model.SerializeToString())

    @property
    def path(self) -> Path:
        """No file, but a name for messages."""
        return Path(f"{self.name}.onnx")

    @property
    def external_data(self) -> None:
        """Nothing lies outside."""

    @property
    def feeds(self) -> Mapping[str, Any]:
        """The inputs by name, without weights that are declared as inputs."""
        return dict(zip((value.name for value in self.model.graph.input), self.inputs, strict=False))

    @property
    def operators(self) -> set[str]:
        """The operators of the graph itself."""
        return {node.op_type for node in self.model.graph.node}


def main() -> None:
    """Run, count, write down and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="data sets whose name has this in it; nothing is written")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    sets = [own for own in data_sets() if options.only in own.name]
    found = list(_results(sets))
    rows = [
        _row("all data sets", found),
        _row("recurrences and control flow", [own for own in found if own["control"]]),
    ]
    if not options.only:
        write_result("backend_tests", "python benchmarks/backend_tests.py", _summary(rows, found))
    print_table("ONNX's backend tests", ("data sets", ">count", *(f">{name}" for name in OUTCOMES)), _table(rows))
    for own in found:
        if options.only or own["outcome"] in ("wrong", "crashed"):
            print(own["name"], own["outcome"], own["detail"], sep=": ")


def _row(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    counts = Counter(own["outcome"] for own in found)
    return {"data_sets": name, "count": len(found), **{outcome: counts[outcome] for outcome in OUTCOMES}}


def _table(rows: list[dict[str, Any]]) -> list[list[str]]:
    return [[str(value) for value in row.values()] for row in rows]


def _summary(rows: list[dict[str, Any]], found: list[dict[str, Any]]) -> dict[str, Any]:
    wrong = [own for own in found if own["outcome"] in ("wrong", "crashed")]
    unevaluated = Counter(own["detail"] for own in found if own["outcome"] == "not evaluated")
    refused = Counter(own["operator"] for own in found if own["outcome"] == "refused")
    return {
        "rows": rows,
        "wrong": {own["name"]: f"{_why(own['name'])} ({own['detail']})" for own in wrong},
        "not_evaluated": dict(unevaluated.most_common()),
        "refused": dict(refused.most_common()),
    }


def _why(name: str) -> str:
    return next((reason for start, reason in KNOWN.items() if name.startswith(start)), "unknown")


def _results(sets: list[DataSet]) -> Iterator[dict[str, Any]]:
    """Each data set's outcome, from a process of its own that a crash may end."""
    pool = _pool(sets)
    for index, own in enumerate(sets):
        try:
            outcome, detail = pool.submit(_outcome, index).result(timeout=120)
        except (BrokenProcessPool, TimeoutError) as error:
            outcome, detail = "crashed", type(error).__name__
            pool.shutdown(wait=False, cancel_futures=True)
            pool = _pool(sets)
        operator = next(iter(own.operators)) if len(own.operators) == 1 else "several operators"
        yield {
            "name": own.name,
            "outcome": outcome,
            "detail": detail,
            "operator": operator,
            "control": bool(own.operators & {*CONTROL_FLOW}),
        }
        if index % 100 == 99:
            print(f"{index + 1} of {len(sets)}", file=sys.stderr, flush=True)
    pool.shutdown()


_SETS: list[DataSet] = []


def _pool(sets: list[DataSet]) -> ProcessPoolExecutor:
    _SETS[:] = sets  # inherited by the fork
    return ProcessPoolExecutor(1, mp_context=get_context("fork"))


def _outcome(index: int) -> tuple[str, str]:
    """What becomes of one data set, and in which words."""
    own = _SETS[index]
    try:
        program = import_graph(own).program
    except BackendUnavailable as error:
        return "not evaluated", str(error.got)
    except BackendError as error:
        return "refused", str(error.got)
    if any(not isinstance(value, np.ndarray | np.generic) for value in (*own.inputs, *own.outputs)):
        return "not evaluated", "values that are no tensors"
    try:
        results = program.run({name: np.asarray(value) for name, value in own.feeds.items()})
    except BackendUnavailable as error:
        return "not evaluated", str(error.got)
    except BackendError as error:
        return "wrong", str(error)
    names = [value.name for value in own.model.graph.output]
    told = [_difference(results[name], want, own) for name, want in zip(names, own.outputs, strict=True)]
    worst = next((text for text in told if text), "")
    return ("wrong", worst) if worst else ("equal", "")


def _difference(got: Any, want: Any, own: DataSet) -> str:
    """How an output differs; empty where it does not."""
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        return f"shape {got.shape} instead of {want.shape}"
    if want.dtype.kind in "biu":
        count = int(np.count_nonzero(got != want))
        return f"{count} of {want.size} values differ" if count else ""
    half = want.dtype.itemsize < 4
    rtol, atol = (max(own.rtol, 1e-2), max(own.atol, 1e-2)) if half else (own.rtol, max(own.atol, 1e-6))
    left, right = got.astype(np.float64), want.astype(np.float64)
    if np.allclose(left, right, rtol=rtol, atol=atol, equal_nan=True):
        return ""
    return f"off by {np.nanmax(np.abs(left - right)):.3g}"


def data_sets() -> Iterator[DataSet]:
    """Every data set of the installed package."""
    from onnx.backend.test.case import model, node
    from onnx.backend.test.loader import load_model_tests

    for case in (*node.collect_testcases(None), *model.collect_testcases()):
        for inputs, outputs in case.data_sets or () if case.model is not None else ():
            yield DataSet(
                name=case.name,
                model=case.model or ModelProto(),
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                rtol=case.rtol,
                atol=case.atol,
            )
    for kind in ("pytorch-converted", "pytorch-operator"):
        for case in load_model_tests(kind=kind):
            yield from _stored(case)


def _stored(case: Any) -> Iterator[DataSet]:
    from onnx import load

    folder = Path(case.model_dir)
    model = load(folder / "model.onnx")
    for place in sorted(folder.glob("test_data_set_*")):
        inputs, outputs = (
            tuple(_array(place / f"{kind}_{i}.pb") for i in range(len([*place.glob(f"{kind}_*.pb")])))
            for kind in ("input", "output")
        )
        yield DataSet(
            name=case.name, model=model, inputs=inputs, outputs=outputs, rtol=case.rtol, atol=max(case.atol, 1e-5)
        )


def _array(path: Path) -> Any:
    from onnx import numpy_helper

    tensor: TensorProto = load_tensor(str(path))
    return numpy_helper.to_array(tensor)


if __name__ == "__main__":
    main()
