"""ONNX Runtime on CUDA: a fake of its CUDA build for the checks that need other machines, and the real one on a GPU."""

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import rnnx_runtime
from rnnx_runtime import BackendError, BackendUnavailable

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
nn = pytest.importorskip("torch.nn", reason="torch is not installed")
rnnx = pytest.importorskip("rnnx")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small LSTM as .onnx."""
    return Path(rnnx.export(nn.LSTM(3, 4), tmp_path_factory.mktemp("encoder") / "lstm.onnx").path)


@pytest.fixture(scope="module")
def with_lengths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small LSTM with lengths as .onnx."""
    path = tmp_path_factory.mktemp("lengths") / "lstm.onnx"
    return Path(rnnx.export(nn.LSTM(3, 4), path, rnnx.ExportOptions(lengths=True)).path)


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small LSTM cell as .onnx, which needs no cuDNN."""
    return Path(rnnx.export(nn.LSTMCell(3, 4), tmp_path_factory.mktemp("step") / "cell.onnx").path)


class FakeOnnxRuntime(SimpleNamespace):
    """The module `onnxruntime`, a build with CUDA; `placed` is where its sessions put which operators."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.__version__ = "1.31.1"
        self.__file__ = str(folder / "__init__.py")
        self.available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        self.placed = {"CUDAExecutionProvider": ["LSTM", "Squeeze"]}
        self.real: Any = __import__("onnxruntime")
        self.InferenceSession = self._session_class()
        self.SessionOptions = self.real.SessionOptions
        self.GraphOptimizationLevel = self.real.GraphOptimizationLevel
        self.OrtValue = SimpleNamespace(ortvalue_from_numpy=lambda value, place, device: (value, place))
        self.bindings: list[FakeBinding] = []
        self.preload_dlls: Callable[[], None] | None = lambda: print("Failed to load libcublas.so.13")

    def get_available_providers(self) -> list[str]:
        return self.available

    def _session_class(fake) -> type:  # noqa: N805 - the class below needs both names
        class InferenceSession:
            def __init__(self, source: Any, options: Any, providers: list[Any], enable_fallback: int) -> None:
                assert enable_fallback == 0
                assert options.get_session_config_entry("session.record_ep_graph_assignment_info") == "1"
                assert providers[0][0] == "CUDAExecutionProvider"
                cpu = fake.real.InferenceSession(source, providers=["CPUExecutionProvider"])
                self.get_inputs, self.get_outputs, self.run = cpu.get_inputs, cpu.get_outputs, cpu.run
                self.cpu = cpu

            def io_binding(self) -> "FakeBinding":
                fake.bindings.append(FakeBinding(self.cpu))
                return fake.bindings[-1]

            def run_with_iobinding(self, binding: "FakeBinding") -> None:
                binding.log.append("run")
                self.cpu.run_with_iobinding(binding.cpu)

            def get_providers(self) -> list[str]:
                return [*fake.placed]

            def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
                return [
                    SimpleNamespace(ep_name=name, get_nodes=lambda ops=ops: [SimpleNamespace(op_type=op) for op in ops])
                    for name, ops in fake.placed.items()
                ]

        return InferenceSession


class FakeBinding:
    """An `IOBinding` whose GPU is the CPU; `places` is where each input and output was wanted."""

    def __init__(self, session: Any) -> None:
        self.cpu = session.io_binding()
        self.places: dict[str, str] = {}
        self.log: list[str] = []

    def bind_ortvalue_input(self, name: str, value: tuple[Any, str]) -> None:
        self.places[name] = value[1]
        self.cpu.bind_cpu_input(name, value[0])

    def bind_output(self, name: str, place: str, device: int) -> None:
        assert device == 0
        self.places[name] = place
        self.cpu.bind_output(name, "cpu")

    def synchronize_inputs(self) -> None:
        self.log.append("inputs there")

    def synchronize_outputs(self) -> None:
        self.log.append("outputs there")


@pytest.fixture
def cuda_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_cudart: Any) -> FakeOnnxRuntime:
    """onnxruntime-gpu with a GPU, and every library found."""
    fake = FakeOnnxRuntime(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.setattr(sys, "platform", "linux")
    _libraries(monkeypatch, missing="")
    return fake


def _libraries(monkeypatch: pytest.MonkeyPatch, missing: str) -> list[str]:
    asked: list[str] = []

    def load(path: str, mode: int = 0) -> None:
        asked.append(Path(path).name)
        if missing and missing in path:
            raise OSError(f"{missing}: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(ctypes, "CDLL", load)
    return asked


def test_a_session_wholly_on_cuda_names_the_gpu(
    cuda_build: FakeOnnxRuntime, encoder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with rnnx_runtime.load(encoder, "ort-cuda") as session:
        assert session.device == "Fake GPU"
        assert session.run(np.ones((2, 1, 3), np.float32))[0].shape == (2, 1, 4)
    assert capfd.readouterr() == ("", ""), "what preload_dlls prints is not the service's output"


def test_a_session_on_cpu_is_refused(cuda_build: FakeOnnxRuntime, encoder: Path) -> None:
    cuda_build.placed = {"CPUExecutionProvider": ["LSTM"]}
    with pytest.raises(BackendUnavailable, match="got a session on CPUExecutionProvider"):
        rnnx_runtime.load(encoder, "ort-cuda")


def test_one_node_on_cpu_is_refused(cuda_build: FakeOnnxRuntime, encoder: Path) -> None:
    cuda_build.placed = {"CUDAExecutionProvider": ["Squeeze"], "CPUExecutionProvider": ["LSTM"]}
    with pytest.raises(BackendUnavailable, match="got LSTM on CPUExecutionProvider"):
        rnnx_runtime.load(encoder, "ort-cuda")


@pytest.mark.parametrize("library", ["libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"])
def test_a_missing_library_is_named(
    cuda_build: FakeOnnxRuntime, encoder: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    _libraries(monkeypatch, missing=library)
    with pytest.raises(BackendUnavailable, match=rf"got {library}: cannot open shared object file"):
        rnnx_runtime.load(encoder, "ort-cuda")


def test_cudnn_is_needed_by_encoders(
    cuda_build: FakeOnnxRuntime, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _libraries(monkeypatch, missing="libcudnn.so.9")
    with pytest.raises(BackendUnavailable, match=r"got libcudnn\.so\.9: cannot open.+'onnxruntime-gpu\[cuda,cudnn\]'"):
        rnnx_runtime.load(encoder, "ort-cuda")


def test_cudnn_is_not_needed_by_a_step(
    cuda_build: FakeOnnxRuntime, step: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _libraries(monkeypatch, missing="libcudnn.so.9")
    rnnx_runtime.load(step, "ort-cuda").close()


def test_elsewhere_than_on_linux_no_library_is_guessed(
    cuda_build: FakeOnnxRuntime, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _libraries(monkeypatch, missing="lib")
    monkeypatch.setattr(sys, "platform", "win32")
    rnnx_runtime.load(encoder, "ort-cuda").close()
    assert asked == []


def test_no_gpu_is_said_before_any_library_is_looked_for(
    cuda_build: FakeOnnxRuntime, encoder: Path, monkeypatch: pytest.MonkeyPatch, fake_cudart: Any
) -> None:
    asked = _libraries(monkeypatch, missing="lib")
    fake_cudart.failures["cudaGetDeviceCount"] = fake_cudart.cudaError_t.cudaErrorNoDevice
    with pytest.raises(BackendUnavailable, match=r"cudaErrorNoDevice \(100\)"):
        rnnx_runtime.load(encoder, "ort-cuda")
    assert asked == []


def test_a_version_that_cannot_say_where_nodes_run_is_refused(cuda_build: FakeOnnxRuntime, encoder: Path) -> None:
    delattr(cuda_build.InferenceSession, "get_provider_graph_assignment_info")
    with pytest.raises(BackendUnavailable, match=r"1\.31\.1, which cannot say where each node runs.+1\.24 or newer"):
        rnnx_runtime.load(encoder, "ort-cuda")


def test_a_version_without_preloading_works(cuda_build: FakeOnnxRuntime, encoder: Path) -> None:
    del cuda_build.preload_dlls
    rnnx_runtime.load(encoder, "ort-cuda").close()


def test_a_resident_run_leaves_everything_on_the_gpu_but_lengths(
    cuda_build: FakeOnnxRuntime, with_lengths: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).standard_normal((5, 2, 3), np.float32)
    ticks = iter([1_000_000, 3_500_000])
    with rnnx_runtime.load(with_lengths, "ort-cuda") as session:
        run = session.resident(x)
        assert run is not None
        monkeypatch.setattr("rnnx_runtime.onnxruntime_cuda.perf_counter_ns", lambda: next(ticks))
        assert run() == 2.5
        (binding,) = cuda_build.bindings
        np.testing.assert_array_equal(binding.cpu.get_outputs()[0].numpy(), session.run(x)[0])
    assert binding.places == dict.fromkeys(("x", "h0", "c0", "output", "hn", "cn"), "cuda") | {"lengths": "cpu"}
    assert binding.log == ["inputs there", "run", "outputs there"], "the clock stops after the device"


def test_a_resident_run_that_fails_is_a_backend_error(cuda_build: FakeOnnxRuntime, encoder: Path) -> None:
    with rnnx_runtime.load(encoder, "ort-cuda") as session:
        run = session.resident(np.ones((2, 1, 3), np.float32))
        assert run is not None
        cuda_build.bindings[0].cpu.clear_binding_inputs()
        with pytest.raises(BackendError, match="ONNX Runtime run: got"):
            run()


def test_a_session_on_cpu_has_no_resident_run(encoder: Path) -> None:
    with rnnx_runtime.load(encoder, "ort-cpu") as session:
        assert session.resident(np.ones((2, 1, 3), np.float32)) is None


@pytest.mark.gpu
@pytest.mark.parametrize("form", ["encoder", "step"])
def test_a_resident_run_on_a_real_gpu_takes_time(request: pytest.FixtureRequest, form: str) -> None:
    x = np.ones((5, 3) if form == "step" else (6, 5, 3), np.float32)
    try:
        session = rnnx_runtime.load(request.getfixturevalue(form), "ort-cuda")
    except BackendUnavailable as error:
        pytest.skip(str(error))
    with session:
        run = session.resident(x)
        assert run is not None
        assert 0 < run() < 10_000


@pytest.mark.gpu
@pytest.mark.parametrize("form", ["encoder", "step"])
def test_ort_cuda_on_a_real_gpu_agrees_with_ort_cpu(request: pytest.FixtureRequest, form: str) -> None:
    model: Path = request.getfixturevalue(form)
    x = np.random.default_rng(0).standard_normal((5, 3) if form == "step" else (6, 5, 3)).astype(np.float32)
    try:
        on_gpu = rnnx_runtime.load(model, "ort-cuda")
    except BackendUnavailable as error:
        pytest.skip(str(error))
    with on_gpu, rnnx_runtime.load(model, "ort-cpu") as on_cpu:
        np.testing.assert_allclose(on_gpu.run(x)[0], on_cpu.run(x)[0], atol=1e-5)
