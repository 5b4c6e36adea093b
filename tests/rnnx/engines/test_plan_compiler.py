"""Building with `tensorrt` 10 and 11 on a fake of their module, as far as rnnx uses it."""

import hashlib
import sys
import weakref
from collections.abc import Callable
from enum import IntEnum
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnx
import pytest
import torch
from torch import nn

import rnnx
from rnnx.building.engine import build_engine
from rnnx.engines.engine_options import EngineOptions
from rnnx.errors import EngineError, OptionError
from rnnx_runtime.files.model_file import read_plan
from rnnx_runtime.files.sidecar import Range


class Severity(IntEnum):
    """`ILogger.Severity`."""

    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3


class Flags10(IntEnum):
    """`NetworkDefinitionCreationFlag` of TensorRT 10."""

    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class Flags11(IntEnum):
    """`NetworkDefinitionCreationFlag` of TensorRT 11."""

    STRONGLY_TYPED = 0


class _Named:
    """A value of one of TensorRT's enums."""

    def __init__(self, name: str) -> None:
        self.name = name


class FakeTensor:
    """`ITensor`: what an input or output of the ONNX graph becomes."""

    def __init__(self, info: onnx.ValueInfoProto) -> None:
        kinds: dict[int, str] = {onnx.TensorProto.FLOAT: "FLOAT", onnx.TensorProto.INT32: "INT32"}
        self.name = info.name
        self.dtype = _Named(kinds[info.type.tensor_type.elem_type])
        dims = info.type.tensor_type.shape.dim
        self.shape = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims]


class FakeNetwork:
    """`INetworkDefinition`: the graph's inputs and outputs, a constant layer and a loop."""

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.inputs: list[FakeTensor] = []
        self.outputs: list[FakeTensor] = []
        self.layers = [SimpleNamespace(type="CONSTANT"), SimpleNamespace(type="TRIP_LIMIT")]
        self.parsers: weakref.WeakSet[FakeParser] = weakref.WeakSet()

    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))
    num_layers = property(lambda self: len(self.layers))

    def get_input(self, index: int) -> FakeTensor:
        return self.inputs[index]

    def get_output(self, index: int) -> FakeTensor:
        return self.outputs[index]

    def get_layer(self, index: int) -> Any:
        return self.layers[index]


class FakeParser:
    """`OnnxParser`: reads the graph's inputs and outputs, or fails with `errors`."""

    def __init__(self, fake: "FakeTensorRT", network: FakeNetwork, logger: Any) -> None:
        self._fake, self._network = fake, network
        self.errors: list[Any] = fake.parser_errors
        network.parsers.add(self)

    @property
    def num_errors(self) -> int:
        return len(self.errors)

    def get_error(self, index: int) -> Any:
        code, desc, name, operator = self.errors[index]
        return SimpleNamespace(
            code=lambda: _Named(code), desc=lambda: desc, node_name=lambda: name, node_operator=lambda: operator
        )

    def parse(self, data: bytes) -> bool:
        self._fake.calls.append("parse")
        return self._read(onnx.load_model_from_string(data))

    def parse_from_file(self, path: str) -> bool:
        self._fake.calls.append(f"parse_from_file {path}")
        return self._read(onnx.load(path, load_external_data=False))

    def _read(self, model: onnx.ModelProto) -> bool:
        self._network.inputs = [FakeTensor(info) for info in model.graph.input]
        self._network.outputs = [FakeTensor(info) for info in model.graph.output]
        return self._fake.parses


class FakeConfig:
    """`IBuilderConfig`."""

    def __init__(self, fake: "FakeTensorRT") -> None:
        self._fake = fake
        self.cleared: list[str] = []
        self.pools: dict[str, int] = {}
        self.profiles: list[dict[str, Any]] = []
        self.capabilities: dict[int, object] = {}
        self.num_compute_capabilities = 0
        self.builder_optimization_level = 3
        self.progress_monitor: Any = None
        self.timing_cache = b""

    def clear_flag(self, flag: str) -> None:
        self.cleared.append(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.pools[pool] = size

    def set_compute_capability(self, capability: object, index: int) -> bool:
        self.capabilities[index] = capability
        return self._fake.takes_targets

    def add_optimization_profile(self, profile: "FakeProfile") -> int:
        if self._fake.profile_error:
            self._fake.report("ERROR", self._fake.profile_error)
            return -1
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1

    def create_timing_cache(self, data: bytes) -> bytes:
        return data

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        self.timing_cache = cache
        return self._fake.takes_timing_cache

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: self.timing_cache + b"+new")


class FakeProfile:
    """`IOptimizationProfile`."""

    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.shapes[name] = shapes


class FakeBuilder:
    """`Builder`: the "plan" is a few bytes; `messages` are logged and the monitor sees one phase of two steps."""

    def __init__(self, fake: "FakeTensorRT", logger: Any) -> None:
        self._fake = fake
        fake.logger = logger
        self.networks: list[FakeNetwork] = []
        fake.builders.append(self)

    def create_network(self, flags: int) -> FakeNetwork:
        self.networks.append(FakeNetwork(flags))
        return self.networks[-1]

    def create_builder_config(self) -> FakeConfig:
        self._fake.configs.append(FakeConfig(self._fake))
        return self._fake.configs[-1]

    def create_optimization_profile(self) -> FakeProfile:
        return FakeProfile()

    def build_serialized_network(self, network: FakeNetwork, config: FakeConfig) -> bytes | None:
        assert not list(network.parsers), "the parser must go before its network"
        for severity, text in self._fake.messages:
            self._fake.report(severity, text)
        monitor = config.progress_monitor
        monitor.phase_start("Building engine", None, 2)
        goes_on = monitor.step_complete("Building engine", 0) and monitor.step_complete("Building engine", 1)
        monitor.phase_finish("Building engine")
        return self._fake.plan if goes_on else None


class FakeTensorRT(ModuleType):
    """The Python module of TensorRT, as far as rnnx uses it; its public attributes say how it behaves and was used."""

    def __init__(self, name: str, version: str) -> None:
        super().__init__(name)
        self.__version__ = version
        self.__spec__ = ModuleSpec(name, None)
        self.plan: bytes | None = b"a plan"
        self.messages: list[tuple[str, str]] = []
        self.parses = True
        self.parser_errors: list[tuple[str, str, str, str]] = []
        self.profile_error = ""
        self.takes_targets = True
        self.takes_timing_cache = True
        self.calls: list[str] = []
        self.builders: list[FakeBuilder] = []
        self.configs: list[FakeConfig] = []
        self.logger: Any = None
        self.NetworkDefinitionCreationFlag = Flags10 if version.startswith("10") else Flags11
        self.BuilderFlag = SimpleNamespace(TF32="TF32")
        self.MemoryPoolType = SimpleNamespace(WORKSPACE="WORKSPACE")
        self.LayerType = SimpleNamespace(TRIP_LIMIT="TRIP_LIMIT")
        self.ILogger = type("ILogger", (), {"Severity": Severity})
        self.IProgressMonitor = type("IProgressMonitor", (), {})
        self.Builder = lambda logger: FakeBuilder(self, logger)
        self.OnnxParser = lambda network, logger: FakeParser(self, network, logger)

    def report(self, severity: str, text: str) -> None:
        """Log a message as the library does."""
        self.logger.log(Severity[severity], text)


@pytest.fixture(params=["10.13.0", "11.0.0"])
def fake_tensorrt(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, fake_cudart: Any) -> FakeTensorRT:
    """TensorRT 10, then 11, as the only TensorRT installed, on a host with a GPU of capability 8.9."""
    fake = FakeTensorRT("tensorrt", request.param)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    return fake


@pytest.fixture(scope="module")
def lstm_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported one-layer LSTM encoder, I=10, H=20; tests leave it as it is."""
    path = tmp_path_factory.mktemp("lstm") / "model.onnx"
    torch.manual_seed(31)
    rnnx.export(nn.LSTM(10, 20), path)
    return path


class Notes:
    """A progress listener that keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def stage_started(self, name: str, total: int, parent: str | None = None) -> None:
        self.calls.append((name, parent, total))

    def parts_done(self, name: str, count: int) -> None:
        self.calls.append((name, count))

    def stage_finished(self, name: str) -> None:
        self.calls.append((name,))


def test_an_engine_and_its_sidecar_are_written(fake_tensorrt: FakeTensorRT, lstm_onnx: Path, tmp_path: Path) -> None:
    report = build_engine(lstm_onnx, tmp_path / "model.plan")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.plan", "model.plan.json"]
    plan = read_plan(tmp_path / "model.plan")
    assert plan.data == fake_tensorrt.plan
    assert plan.sidecar == report.sidecar
    assert (report.sidecar.flavor, report.sidecar.version) == ("tensorrt", fake_tensorrt.__version__)
    assert report.sidecar.targets == ("8.9",)
    assert report.sidecar.onnx_sha256 == hashlib.sha256(lstm_onnx.read_bytes()).hexdigest()
    assert (report.layers, report.loops, report.bytes) == (2, 1, len(plan.data))


def test_the_network_is_strongly_typed(fake_tensorrt: FakeTensorRT, lstm_onnx: Path, tmp_path: Path) -> None:
    build_engine(lstm_onnx, tmp_path / "model.plan")
    ((network,),) = (builder.networks for builder in fake_tensorrt.builders)
    assert network.flags == 1 << int(fake_tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def test_every_option_reaches_the_config(fake_tensorrt: FakeTensorRT, lstm_onnx: Path, tmp_path: Path) -> None:
    profiles = ({"B": Range(min=1, opt=2, max=4), "T": Range(min=1, opt=5, max=9)},) * 2
    options = EngineOptions(profiles=profiles, workspace_mib=7, tf32=False, optimization_level=1)
    report = build_engine(lstm_onnx, tmp_path / "model.plan", options)
    (config,) = fake_tensorrt.configs
    assert config.cleared == ["TF32"]
    assert config.pools == {"WORKSPACE": 7 * 2**20}
    assert config.builder_optimization_level == 1
    state = ((1, 1, 20), (1, 2, 20), (1, 4, 20))
    assert config.profiles == [{"x": ((1, 1, 10), (5, 2, 10), (9, 4, 10)), "h0": state, "c0": state}] * 2
    assert (report.sidecar.profiles, report.sidecar.tf32, report.default_profiles) == (profiles, False, False)


def test_nothing_is_configured_unasked(fake_tensorrt: FakeTensorRT, lstm_onnx: Path, tmp_path: Path) -> None:
    report = build_engine(lstm_onnx, tmp_path / "model.plan")
    (config,) = fake_tensorrt.configs
    assert (config.cleared, config.pools, config.capabilities) == ([], {}, {})
    assert len(config.profiles) == 1
    assert (report.default_profiles, report.sidecar.tf32) == (True, True)


def test_a_timing_cache_is_made_then_reused(fake_tensorrt: FakeTensorRT, lstm_onnx: Path, tmp_path: Path) -> None:
    cache = tmp_path / "timing.cache"
    for expected in (b"+new", b"+new+new"):
        build_engine(lstm_onnx, tmp_path / "model.plan", EngineOptions(timing_cache=cache))
        assert cache.read_bytes() == expected


def test_a_foreign_timing_cache_is_refused(fake_tensorrt: FakeTensorRT, lstm_onnx: Path, tmp_path: Path) -> None:
    fake_tensorrt.takes_timing_cache = False
    (tmp_path / "timing.cache").write_bytes(b"of another GPU")
    with pytest.raises(OptionError, match=r"timing.cache, which TensorRT refuses, expected a cache of this GPU"):
        build_engine(lstm_onnx, tmp_path / "model.plan", EngineOptions(timing_cache=tmp_path / "timing.cache"))
    assert [path.name for path in tmp_path.iterdir()] == ["timing.cache"]


def test_phases_are_told_to_a_listener(fake_tensorrt: FakeTensorRT, lstm_onnx: Path, tmp_path: Path) -> None:
    notes = Notes()
    build_engine(lstm_onnx, tmp_path / "model.plan", listener=notes)
    phase = "Building engine"
    assert notes.calls == [(phase, None, 2), (phase, 1), (phase, 2), (phase,)]


def test_warnings_are_in_the_report(fake_tensorrt: FakeTensorRT, lstm_onnx: Path, tmp_path: Path) -> None:
    fake_tensorrt.messages = [("WARNING", "slow"), ("INFO", "chatter"), ("WARNING", "slow")]
    assert build_engine(lstm_onnx, tmp_path / "model.plan").warnings == ("slow",)


def test_a_build_that_gives_none_is_an_error_with_what_was_said(
    fake_tensorrt: FakeTensorRT, lstm_onnx: Path, tmp_path: Path
) -> None:
    fake_tensorrt.plan = None
    fake_tensorrt.messages = [("ERROR", "no tactics within workspace limit"), ("ERROR", "a consequence")]
    with pytest.raises(EngineError, match=r"got no tactics within workspace limit, .* raise workspace_mib"):
        build_engine(lstm_onnx, tmp_path / "model.plan")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_profile_is_an_error_with_what_was_said(
    fake_tensorrt: FakeTensorRT, lstm_onnx: Path, tmp_path: Path
) -> None:
    fake_tensorrt.profile_error = "Invalid optimization profiles for input tensors c0, h0, x"
    with pytest.raises(EngineError, match=r"profile B=1:8:64,T=1:64:512: got Invalid .* input tensors c0, h0, x"):
        build_engine(lstm_onnx, tmp_path / "model.plan")


def test_a_node_that_cannot_be_parsed_is_named(fake_tensorrt: FakeTensorRT, lstm_onnx: Path, tmp_path: Path) -> None:
    fake_tensorrt.parses = False
    fake_tensorrt.parser_errors = [("UNSUPPORTED_NODE", "no such thing", "layer0", "LSTM"), ("x", "y", "z", "w")]
    with pytest.raises(EngineError, match=r"model.onnx, LSTM 'layer0': got UNSUPPORTED_NODE: no such thing"):
        build_engine(lstm_onnx, tmp_path / "model.plan")


@pytest.mark.parametrize(
    ("role", "change", "got"),
    [
        ("inputs", lambda tensor: setattr(tensor, "name", "X"), r"X float32 \(\?, \?, 10\)"),
        ("inputs", lambda tensor: setattr(tensor, "dtype", _Named("HALF")), r"x float16 \(\?, \?, 10\)"),
        ("inputs", lambda tensor: setattr(tensor, "shape", [-1, -1, 11]), r"x float32 \(\?, \?, 11\)"),
        ("outputs", lambda tensor: setattr(tensor, "shape", [7, -1, 20]), r"output float32 \(7, \?, 20\)"),
    ],
    ids=["name", "dtype", "size", "fixed-output"],
)
def test_a_network_that_is_not_what_the_contract_says_is_refused(
    fake_tensorrt: FakeTensorRT,
    lstm_onnx: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    role: str,
    change: Callable[[FakeTensor], None],
    got: str,
) -> None:
    def read_and_change(self: FakeParser, model: onnx.ModelProto) -> bool:
        parsed = original(self, model)
        change(getattr(self._network, role)[0])
        return parsed

    original = FakeParser._read
    monkeypatch.setattr(FakeParser, "_read", read_and_change)
    with pytest.raises(EngineError, match=f"{role} in TensorRT: got {got}, expected "):
        build_engine(lstm_onnx, tmp_path / "model.plan")


def test_targets_are_refused_where_they_cannot_be_chosen(
    fake_tensorrt: FakeTensorRT, lstm_onnx: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=r"targets: got 8.9 with tensorrt .*, expected no target"):
        build_engine(lstm_onnx, tmp_path / "model.plan", EngineOptions(targets=("8.9",)))


def test_without_a_gpu_tensorrt_builds_nothing(
    fake_tensorrt: FakeTensorRT, fake_cudart: Any, lstm_onnx: Path, tmp_path: Path
) -> None:
    fake_cudart.devices = 0
    with pytest.raises(EngineError, match=r"got 0 devices, expected the GPU that the engine is for"):
        build_engine(lstm_onnx, tmp_path / "model.plan")
    assert fake_tensorrt.builders == []


def test_weights_in_their_own_file_are_parsed_from_there(
    fake_tensorrt: FakeTensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rnnx.graphs.onnx_writer.PROTOBUF_LIMIT", 100)
    rnnx.export(nn.GRU(10, 20), tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx.data").exists()
    build_engine(tmp_path / "model.onnx", tmp_path / "model.plan")
    assert fake_tensorrt.calls == [f"parse_from_file {tmp_path / 'model.onnx'}"]
