"""ONNX Runtime on CUDA: a fake of its CUDA build for the checks that need other machines, and the real one on a GPU."""

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.rnnx_runtime.long_run import long_run

import rnnx_runtime
from rnnx_runtime import BackendError, BackendUnavailable, Session, State
from rnnx_runtime.cuda.memory import DeviceArray

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

    def __init__(self, folder: Path, cudart: Any) -> None:
        super().__init__()
        self.cudart = cudart
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

    def _session_class(fake) -> Any:  # noqa: N805 - the class below needs both names
        class InferenceSession:
            def __new__(cls, source: Any, options: Any, providers: list[Any], enable_fallback: int) -> Any:
                if providers == ["CPUExecutionProvider"]:
                    return fake.real.InferenceSession(source, providers=providers)
                return super().__new__(cls)

            def __init__(self, source: Any, options: Any, providers: list[Any], enable_fallback: int) -> None:
                assert enable_fallback == 0
                assert options.get_session_config_entry("session.record_ep_graph_assignment_info") == "1"
                assert providers[0][0] == "CUDAExecutionProvider"
                cpu = fake.real.InferenceSession(source, providers=["CPUExecutionProvider"])
                self.get_inputs, self.get_outputs = cpu.get_inputs, cpu.get_outputs
                self.cpu = cpu

            def io_binding(self) -> "FakeBinding":
                fake.bindings.append(FakeBinding(self.cpu, fake.cudart))
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
    """An `IOBinding` whose GPU is the fake device's memory and whose kernels are the CPU's.

    `places` is where each input and output was wanted; an address in "cuda" memory must be the device's.
    """

    def __init__(self, session: Any, cudart: Any) -> None:
        self.cpu = session.io_binding()
        self.cudart = cudart
        self.places: dict[str, str] = {}
        self.log: list[str] = []

    def bind_cpu_input(self, name: str, value: NDArray[Any]) -> None:
        self.places[name] = "copied"
        self.cpu.bind_cpu_input(name, value.copy())

    def bind_ortvalue_input(self, name: str, value: tuple[Any, str]) -> None:
        self.places[name] = value[1]
        self.cpu.bind_cpu_input(name, value[0])

    def bind_input(self, name: str, place: str, device: int, dtype: Any, shape: Any, address: int) -> None:
        self._check(place, device, shape, address)
        self.places[name] = place
        self.cpu.bind_input(name, "cpu", 0, dtype, shape, address)

    def bind_output(
        self, name: str, place: str, device: int, dtype: Any = None, shape: Any = None, address: int | None = None
    ) -> None:
        self.places[name] = place
        if address is None:
            self.cpu.bind_output(name, "cpu")
        else:
            self._check(place, device, shape, address)
            self.cpu.bind_output(name, "cpu", 0, dtype, shape, address)

    def _check(self, place: str, device: int, shape: Any, address: int) -> None:
        assert device == 0
        assert (address in self.cudart.device) == (place == "cuda")
        if place == "cuda":
            assert 4 * np.prod(shape) <= self.cudart.device[address].nbytes

    def synchronize_inputs(self) -> None:
        self.log.append("inputs there")

    def synchronize_outputs(self) -> None:
        self.log.append("outputs there")


@pytest.fixture
def cuda_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_cudart: Any) -> FakeOnnxRuntime:
    """onnxruntime-gpu with a GPU, and every library found."""
    fake = FakeOnnxRuntime(tmp_path, fake_cudart)
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


# States on the device


def _frames(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((count, 2, 3), np.float32)


def test_a_run_leaves_states_on_the_device_and_brings_output_back(
    cuda_build: FakeOnnxRuntime, with_lengths: Path
) -> None:
    x = _frames(5)
    with rnnx_runtime.load(with_lengths, "ort-cuda") as session, rnnx_runtime.load(with_lengths, "ort-cpu") as on_cpu:
        output, state = session.run(x, lengths=[5, 3])
        (binding,) = cuda_build.bindings
        assert binding.places == dict.fromkeys(("x", "h0", "c0", "lengths"), "copied") | {
            "output": "cpu",
            "hn": "cuda",
            "cn": "cuda",
        }
        assert state.is_on_device
        expected, last = on_cpu.run(x, lengths=[5, 3])
        np.testing.assert_array_equal(output, expected)
        np.testing.assert_array_equal(state.h, last.h)
        np.testing.assert_array_equal(state.c, last.c)


@pytest.mark.parametrize("form", ["encoder", "step"])
def test_steps_whose_state_never_leaves_the_device_equal_the_cpus(
    cuda_build: FakeOnnxRuntime, request: pytest.FixtureRequest, form: str
) -> None:
    model = request.getfixturevalue(form)
    state: Any = None
    right: Any = None
    with rnnx_runtime.load(model, "ort-cuda") as session, rnnx_runtime.load(model, "ort-cpu") as on_cpu:
        for frame in _frames(12):
            y, state = session.step(frame, state)
            expected, right = on_cpu.step(frame, right)
            np.testing.assert_array_equal(y, expected)
        assert {binding.places["h0"] for binding in cuda_build.bindings[1:]} == {"cuda"}
        np.testing.assert_array_equal(state.h, right.h)
        np.testing.assert_array_equal(state.c, right.c)


@pytest.mark.parametrize("form", ["encoder", "step"])
def test_a_thousand_steps_equal_the_truth(cuda_build: FakeOnnxRuntime, tmp_path: Path, form: str) -> None:
    run = long_run(tmp_path, form)
    with rnnx_runtime.load(run.path, "ort-cuda") as session:
        run.check(session)


def test_a_stream_alternates_between_two_buffers_and_earlier_states_stay(
    cuda_build: FakeOnnxRuntime, encoder: Path
) -> None:
    with rnnx_runtime.load(encoder, "ort-cuda") as session:
        state: Any = None
        for _ in range(2):
            state = session.step(_frames(1)[0], state)[1]
        cuda_build.cudart.calls.clear()
        addresses = set()
        for frame in _frames(10):
            state = session.step(frame, state)[1]
            addresses.add(tuple(part.address for part in state.parts))
        assert len(addresses) == 2
        assert "cudaMalloc" not in cuda_build.cudart.calls
        kept, h = state, state.h
        for frame in _frames(4):
            state = session.step(frame, state)[1]
        np.testing.assert_array_equal(kept.h, h)


def test_a_callers_buffers_are_written_and_given_back(cuda_build: FakeOnnxRuntime, encoder: Path) -> None:
    x, hn, output = _frames(5), np.zeros((1, 2, 4), np.float32), np.zeros((5, 2, 4), np.float32)
    with rnnx_runtime.load(encoder, "ort-cuda") as session:
        expected, last = session.run(x)
        given, state = session.run(x, out={"output": output, "hn": hn})
        assert given is output
        assert state.parts[0] is hn
        assert isinstance(state.parts[1], DeviceArray)
        np.testing.assert_array_equal(state.c, last.c)
    np.testing.assert_array_equal(output, expected)
    np.testing.assert_array_equal(hn, last.h)


def test_a_state_is_updated_in_place(cuda_build: FakeOnnxRuntime, encoder: Path) -> None:
    state = State(np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 4), np.float32))
    with rnnx_runtime.load(encoder, "ort-cuda") as session:
        _, expected = session.run(_frames(5))
        for frame in _frames(5):
            session.step(frame, state, out={"hn": state.h, "cn": np.asarray(state.c)})
    np.testing.assert_array_equal(state.h, expected.h)
    np.testing.assert_array_equal(state.c, expected.c)


def test_close_frees_all_but_states_that_are_held(cuda_build: FakeOnnxRuntime, encoder: Path) -> None:
    with rnnx_runtime.load(encoder, "ort-cuda") as session:
        _, state = session.run(_frames(5))
        session.run(_frames(5))
        h = state.h
    np.testing.assert_array_equal(state.h, h)
    assert len(cuda_build.cudart.device) == 2
    del state
    assert cuda_build.cudart.is_empty


def test_another_sessions_state_comes_through_the_host(cuda_build: FakeOnnxRuntime, encoder: Path) -> None:
    x = _frames(5)
    with rnnx_runtime.load(encoder, "ort-cuda") as first, rnnx_runtime.load(encoder, "ort-cpu") as second:
        _, state = first.run(x)
        np.testing.assert_array_equal(second.run(x, state)[0], first.run(x, state)[0])


def test_a_failed_run_is_one_error_and_gives_its_blocks_back(cuda_build: FakeOnnxRuntime, encoder: Path) -> None:
    def fail(session: Any, binding: Any) -> None:
        raise RuntimeError("CUDNN failure 4:\n no stream")

    with rnnx_runtime.load(encoder, "ort-cuda") as session:
        session.run(_frames(5))
        cuda_build.cudart.calls.clear()
        works, cuda_build.InferenceSession.run_with_iobinding = cuda_build.InferenceSession.run_with_iobinding, fail
        for _ in range(3):
            with pytest.raises(BackendError, match="ONNX Runtime run: got CUDNN failure 4: no stream"):
                session.run(_frames(5))
        cuda_build.InferenceSession.run_with_iobinding = works
        session.run(_frames(5))
        assert "cudaMalloc" not in cuda_build.cudart.calls


def test_threads_share_a_session(cuda_build: FakeOnnxRuntime, encoder: Path) -> None:
    frames, failures = _frames(20), []
    with rnnx_runtime.load(encoder, "ort-cuda") as session:
        expected, last = session.run(frames)

        def stream() -> None:
            try:
                _check_stream(session, frames, expected, last)
            except BaseException as error:
                failures.append(error)

        threads = [Thread(target=stream) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def _check_stream(session: Session, frames: Any, expected: Any, last: Any) -> None:
    state: Any = None
    for frame, right in zip(frames, expected, strict=True):
        y, state = session.step(frame, state)
        np.testing.assert_allclose(y, right, atol=1e-6)
    np.testing.assert_allclose(state.c, last.c, atol=1e-6)


# Resident runs


def test_a_resident_run_leaves_everything_on_the_gpu_but_lengths(
    cuda_build: FakeOnnxRuntime, with_lengths: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).standard_normal((5, 2, 3), np.float32)
    ticks = iter([1_000_000, 3_500_000])
    with rnnx_runtime.load(with_lengths, "ort-cuda") as session:
        run = session.resident(x)
        assert run is not None
        monkeypatch.setattr("rnnx_runtime.backends.onnxruntime_cuda.perf_counter_ns", lambda: next(ticks))
        assert run() == 2.5
        (binding,) = cuda_build.bindings
        np.testing.assert_array_equal(binding.cpu.get_outputs()[0].numpy(), session.run(x)[0])
    assert binding.places == dict.fromkeys(("x", "h0", "c0", "output", "hn", "cn"), "cuda") | {"lengths": "cpu"}
    assert binding.log == ["inputs there", "run", "outputs there"], "the clock stops after the device"


def test_a_resident_run_takes_a_state_where_it_lies(cuda_build: FakeOnnxRuntime, encoder: Path) -> None:
    with rnnx_runtime.load(encoder, "ort-cuda") as session:
        _, state = session.run(_frames(5))
        run = session.resident(_frames(5), state)
        expected = session.run(_frames(5), state)[0]
        places = cuda_build.bindings[1].places
        del state
        others = [session.run(-_frames(5)) for _ in range(2)]  # would take the state's blocks, were they not held
        assert run is not None
        run()
        assert len(others) == 2
    np.testing.assert_array_equal(cuda_build.bindings[1].cpu.get_outputs()[0].numpy(), expected)
    assert {places["h0"], places["c0"]} == {"cuda"}


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
    with _on_real_gpu(request.getfixturevalue(form)) as session:
        run = session.resident(x)
        assert run is not None
        assert 0 < run() < 10_000


@pytest.mark.gpu
@pytest.mark.parametrize("form", ["encoder", "step"])
def test_ort_cuda_on_a_real_gpu_agrees_with_ort_cpu(request: pytest.FixtureRequest, form: str) -> None:
    model: Path = request.getfixturevalue(form)
    x = np.random.default_rng(0).standard_normal((5, 3) if form == "step" else (6, 5, 3)).astype(np.float32)
    with _on_real_gpu(model) as on_gpu, rnnx_runtime.load(model, "ort-cpu") as on_cpu:
        np.testing.assert_allclose(on_gpu.run(x)[0], on_cpu.run(x)[0], atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("form", ["encoder", "step"])
def test_a_state_on_a_real_gpu_equals_the_same_state_from_the_host(request: pytest.FixtureRequest, form: str) -> None:
    x = np.random.default_rng(0).standard_normal((5, 3) if form == "step" else (6, 5, 3)).astype(np.float32)
    with _on_real_gpu(request.getfixturevalue(form)) as session:
        _, state = session.run(x)
        assert state.is_on_device
        from_device = session.run(x, state)
        from_host = session.run(x, State(state.h, state.c))
        for one, other in zip(_values(*from_device), _values(*from_host), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("form", ["encoder", "step"])
def test_a_thousand_steps_on_a_real_gpu_equal_the_truth(tmp_path: Path, form: str) -> None:
    run = long_run(tmp_path, form)
    with _on_real_gpu(run.path) as session:
        run.check(session)


def _on_real_gpu(model: Path) -> Session:
    try:
        return rnnx_runtime.load(model, "ort-cuda")
    except BackendUnavailable as error:
        pytest.skip(str(error))


def _values(output: Any, state: State) -> list[Any]:
    return [output, state.h, state.c]
