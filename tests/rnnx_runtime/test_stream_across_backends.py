"""A stream that is snapshotted on one backend and goes on on another, against one run in float64 without a break."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.contracts import changed
from torch import nn

import rnnx
import rnnx_runtime
from rnnx.building.engine import build_engine
from rnnx.engines.engine_options import EngineOptions
from rnnx.engines.tensorrt_library import open_library
from rnnx.parity.limits import limit_of
from rnnx.tensorrt_network.candidate import NetworkCandidate
from rnnx.truths.cases import Case, case_at
from rnnx.truths.reference import evaluate
from rnnx.truths.truth import CaseTruth
from rnnx.weights.torch_tensors import TorchCheckpoint
from rnnx.weights.weights import choose_module, read_weights
from rnnx_runtime import BackendName, BackendUnavailable, Contract, Session
from rnnx_runtime.cuda import devices as cuda
from rnnx_runtime.files.model_file import read_onnx
from rnnx_runtime.files.sidecar import Flavor, Profile, Range
from rnnx_runtime.stream import Stream

Array = NDArray[Any]

MODELS: dict[str, Callable[[], nn.Module]] = {
    "lstm-1": lambda: nn.LSTM(5, 8),
    "lstm-2": lambda: nn.LSTM(5, 8, 2),
    "lstm-step": lambda: nn.LSTMCell(5, 8),
    "gru-1": lambda: nn.GRU(5, 8),
    "gru-2": lambda: nn.GRU(5, 8, 2),
    "gru-step": lambda: nn.GRUCell(5, 8),
}
PUSHES = (3, None, 4, None, None, 2, 1)
"""The sizes of a turn's chunks, and None for a frame."""

TIME = sum(size or 1 for size in PUSHES)
PROFILE: Profile = {"B": Range(min=1, opt=1, max=2), "T": Range(min=1, opt=1, max=8)}


class ParsedNetwork:
    """The network that TensorRT's importer made of a model, as a backend of the runtime."""

    device = "NumPy"

    def __init__(self, path: Path) -> None:
        model = read_onnx(path)
        self._outputs = [spec.name for spec in model.contract.outputs]
        self._candidate = NetworkCandidate(model, model.contract)

    def run(self, feeds: Mapping[str, Any], out: Mapping[str, Array] | None = None) -> list[Any]:
        assert out is None
        values = self._candidate.outputs(Case(name="push", feeds=feeds))
        return [values[name] for name in self._outputs]

    def close(self) -> None:
        self._candidate.close()


@pytest.fixture(params=MODELS)
def module(request: pytest.FixtureRequest) -> nn.Module:
    """A module with weights uniform in ±1/√H, as PyTorch makes them."""
    built = MODELS[request.param]()
    chance = np.random.default_rng(44)
    for value in built.state_dict().values():
        value.numpy()[:] = chance.uniform(-1, 1, value.shape) / np.sqrt(8)
    return built


@pytest.fixture
def model(module: nn.Module, tmp_path: Path) -> Path:
    """The module as .onnx."""
    return Path(rnnx.export(module, tmp_path / "model.onnx").path)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What a test has opened, to be closed at its end."""
    with ExitStack() as opened:
        yield opened


def uninterrupted(module: nn.Module, contract: Contract, turns: int) -> tuple[CaseTruth, Contract]:
    """One run over all the frames from zeros, in float64 and float32, as an encoder's whatever the form."""
    as_encoder = changed(contract, form="encoder")
    checkpoint = TorchCheckpoint("module", dict(module.state_dict()))
    weights = read_weights(checkpoint, choose_module(checkpoint, None))
    x = case_at(as_encoder.layer(), turns * TIME, 1, seed=44).feeds["x"]
    truth, single = (evaluate(weights, as_encoder.layer(), {"x": x}, dtype) for dtype in (np.float64, np.float32))
    errors = {name: float(np.abs(single[name] - value).max()) for name, value in truth.items()}
    return CaseTruth(case=Case(name="stream", feeds={"x": x}), truth=truth, float32_error=errors), as_encoder


def pushed(stream: Stream, x: Array) -> Array:
    """One turn's output for x `(TIME, I)`, in frames and chunks."""
    rows, start = [], 0
    for size in PUSHES:
        rows.append(stream.push(x[start])[None] if size is None else stream.push(x[start : start + size]))
        start += size or 1
    return np.concatenate(rows)


def worst_share(module: nn.Module, sessions: list[Session]) -> float:
    """The largest error of a stream that goes through the sessions in turn, as a share of what rnnx tolerates."""
    entry, contract = uninterrupted(module, sessions[0].spec, len(sessions))
    data, outputs = None, []
    for turn, session in enumerate(sessions):
        stream = session.stream(data)
        outputs.append(pushed(stream, entry.case.feeds["x"][turn * TIME : (turn + 1) * TIME, 0]))
        data = stream.snapshot()
    state = stream.state
    found = {"output": np.concatenate(outputs)[:, None], "hn": state.h, "cn": state.c}
    shares = []
    for name, truth in entry.truth.items():
        value = found[name]
        assert value is not None
        error = np.abs(value.reshape(truth.shape) - truth).max()
        shares.append(float(error) / limit_of(entry, name, contract, "float32"))
    return max(shares)


@pytest.mark.tensorrt
def test_a_stream_goes_on_on_the_network_that_tensorrt_parsed_and_back(
    module: nn.Module, model: Path, stack: ExitStack
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    on_cpu = stack.enter_context(rnnx_runtime.load(model, "ort-cpu"))
    parsed = stack.enter_context(Session(on_cpu.spec, ParsedNetwork(model)))
    assert worst_share(module, [on_cpu, parsed, on_cpu, parsed]) <= 1
    assert worst_share(module, [parsed, on_cpu]) <= 1


@pytest.mark.gpu
@pytest.mark.tensorrt
@pytest.mark.parametrize(
    "others",
    [
        pytest.param(("ort-cuda",), id="ort-cuda"),
        pytest.param(("tensorrt",), id="tensorrt"),
        pytest.param(("tensorrt-rtx",), id="tensorrt-rtx"),
        pytest.param(("ort-cuda", "tensorrt"), id="ort-cuda-tensorrt"),
        pytest.param(("ort-cuda", "tensorrt-rtx"), id="ort-cuda-tensorrt-rtx"),
    ],
)
def test_a_stream_goes_on_on_the_backends_of_a_gpu(
    module: nn.Module, model: Path, stack: ExitStack, others: tuple[BackendName, ...]
) -> None:
    on_cpu = stack.enter_context(rnnx_runtime.load(model, "ort-cpu"))
    on_gpu = [stack.enter_context(_loaded_on_gpu(model, name)) for name in others]
    assert worst_share(module, [on_cpu, *on_gpu, on_cpu]) <= 1


def _loaded_on_gpu(model: Path, name: BackendName) -> Session:
    try:
        cuda.device_count()
        if name == "ort-cuda":
            return rnnx_runtime.load(model, name)
        return rnnx_runtime.load(_engine(model, "tensorrt" if name == "tensorrt" else "tensorrt-rtx"))
    except BackendUnavailable as error:
        pytest.skip(str(error))


def _engine(model: Path, flavor: Flavor) -> Path:
    pytest.importorskip(flavor.replace("-", "_"), reason=f"{flavor} is not installed")
    capability = cuda.compute_capability()
    known = open_library(flavor).trt.ComputeCapability.__members__ if flavor == "tensorrt-rtx" else None
    if known is not None and f"SM{capability.replace('.', '')}" not in known:
        pytest.skip(f"tensorrt_rtx does not list compute capability {capability}")
    profile = PROFILE if read_onnx(model).contract.layer().form == "encoder" else {"B": PROFILE["B"]}
    options = EngineOptions(flavor=flavor, profiles=(profile,), tf32=False)
    return Path(build_engine(model, model.with_suffix(f".{flavor}.plan"), options).path)
