"""One sound file of each kind that rnnx writes, and what a reader makes of it."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.whole_model import EagerAdder, example_of, write_adder

import rnnx_runtime
from rnnx.truths.golden import read_golden
from rnnx.truths.model_golden import read_model_golden
from rnnx_runtime.contract import Contract
from rnnx_runtime.files.model_file import read_plan
from rnnx_runtime.snapshot import snapshot_from_state, state_from_snapshot

SEED = 20264


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """Files that belong together, and which of them is damaged; `reader` is a key of `READERS`."""

    kind: str
    reader: str
    files: dict[str, bytes]
    target: str
    contract: Contract

    @property
    def data(self) -> bytes:
        """The bytes that are damaged."""
        return self.files[self.target]


def read(specimen: Specimen, folder: Path) -> bytes:
    """What a reader of these files gets out of them, as bytes to compare; raises what the reader raises."""
    return pickle.dumps(READERS[specimen.reader](specimen, folder))


def write(specimen: Specimen, folder: Path) -> None:
    """Write the sound files into a folder."""
    for name, data in specimen.files.items():
        (folder / name).write_bytes(data)


def _session_results(specimen: Specimen, folder: Path) -> object:
    """The model's contract, output and last state for seeded inputs."""
    with rnnx_runtime.load(folder / "model.onnx", "ort-cpu") as session:
        sizes = {"T": 3, "B": 2}
        shape = [sizes[dim] if isinstance(dim, str) else dim for dim in session.spec.inputs[0].dims]
        y, state = session.run(np.random.default_rng(SEED).standard_normal(shape, np.float32))
        return session.spec, y.tobytes(), state.h.tobytes(), None if state.c is None else state.c.tobytes()


def _plan(specimen: Specimen, folder: Path) -> object:
    """All that an engine would be given: a plan itself can be opened on a GPU alone."""
    model = read_plan(folder / "model.plan")
    return model.sidecar, model.data


def _golden(specimen: Specimen, folder: Path) -> object:
    path, contract = folder / "model.golden.npz", specimen.contract
    return read_golden(path, contract) if contract.bare else read_model_golden(path, contract)


def _whole_model_results(specimen: Specimen, folder: Path) -> object:
    """A whole model's contract, outputs and states for its example."""
    with rnnx_runtime.load(folder / "model.onnx", "ort-cpu") as session:
        inputs = {name: value for name, value in example_of().items() if name != "h0"}
        found = [*session.run(inputs)]
        return session.spec, [{name: value.tobytes() for name, value in values.items()} for values in found]


def _snapshot(specimen: Specimen, folder: Path) -> object:
    assert isinstance(specimen.contract, Contract)
    return state_from_snapshot((folder / "snapshot").read_bytes(), specimen.contract)


READERS: dict[str, Callable[[Specimen, Path], object]] = {
    "session": _session_results,
    "plan": _plan,
    "golden": _golden,
    "whole": _whole_model_results,
    "snapshot": _snapshot,
}


def exported_specimens(folder: Path) -> list[Specimen]:
    """Models, a golden file and a snapshot, exported and taken in an empty folder."""
    return [
        _exported("lstm.onnx", folder / "lstm"),
        _exported("gru-step.onnx", folder / "gru"),
        *_external(folder / "external"),
        _golden_specimen(folder / "golden"),
        _snapshot_specimen(folder / "snapshot"),
        *_whole_models(folder / "whole"),
    ]


def _exported(kind: str, folder: Path) -> Specimen:
    contract = _export("GRUCell" if "step" in kind else "LSTM", folder)
    files = {"model.onnx": (folder / "model.onnx").read_bytes()}
    return Specimen(kind=kind, reader="session", files=files, target="model.onnx", contract=contract)


def _external(folder: Path) -> list[Specimen]:
    """A model whose weights are beside it, damaged in either file."""
    import rnnx.graphs.onnx_writer as writer

    limit, writer.PROTOBUF_LIMIT = writer.PROTOBUF_LIMIT, 64
    try:
        contract = _export("LSTM", folder)
    finally:
        writer.PROTOBUF_LIMIT = limit
    files = {name: (folder / name).read_bytes() for name in ("model.onnx", "model.onnx.data")}
    kinds = {"external.onnx": "model.onnx", "external.onnx.data": "model.onnx.data"}
    return [
        Specimen(kind=kind, reader="session", files=files, target=target, contract=contract)
        for kind, target in kinds.items()
    ]


def _golden_specimen(folder: Path) -> Specimen:
    contract = _export("LSTM", folder)
    name = "model.golden.npz"
    files = {name: (folder / name).read_bytes()}
    return Specimen(kind="golden.npz", reader="golden", files=files, target=name, contract=contract)


def _whole_models(folder: Path) -> list[Specimen]:
    """A whole model and its golden file."""
    folder.mkdir()
    contract = write_adder(folder / "model.onnx", EagerAdder())
    kinds = {"whole.onnx": ("whole", "model.onnx"), "whole.golden.npz": ("golden", "model.golden.npz")}
    return [
        Specimen(kind=kind, reader=reader, files={name: (folder / name).read_bytes()}, target=name, contract=contract)
        for kind, (reader, name) in kinds.items()
    ]


def _snapshot_specimen(folder: Path) -> Specimen:
    contract = _export("LSTM", folder)
    h, c = np.random.default_rng(SEED).standard_normal((2, 1, 8), np.float32)
    files = {"snapshot": snapshot_from_state([h, c], contract)}
    return Specimen(kind="snapshot", reader="snapshot", files=files, target="snapshot", contract=contract)


def _export(module: str, folder: Path) -> Contract:
    import torch

    import rnnx

    folder.mkdir()
    torch.manual_seed(SEED)
    return rnnx.export(getattr(torch.nn, module)(5, 8), folder / "model.onnx").contract


def plan_specimens(folder: Path) -> list[Specimen]:
    """An engine that TensorRT for RTX builds, which needs no GPU, damaged itself or in its sidecar."""
    import rnnx

    contract = _export("LSTM", folder / "plan")
    path = folder / "plan" / "model.plan"
    rnnx.build_engine(path.with_suffix(".onnx"), path, rnnx.EngineOptions(flavor="tensorrt-rtx"))
    files = {name: path.with_name(name).read_bytes() for name in ("model.plan", "model.plan.json")}
    kinds = {"plan": "model.plan", "plan.json": "model.plan.json"}
    return [
        Specimen(kind=kind, reader="plan", files=files, target=target, contract=contract)
        for kind, target in kinds.items()
    ]


def descriptors() -> int:
    """How many files this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
