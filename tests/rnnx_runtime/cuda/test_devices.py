"""Devices and streams, on a CUDA runtime in NumPy; the last tests use the real one where there is a GPU."""

import subprocess
import sys
from typing import Any

import pytest

from rnnx_runtime import BackendError, BackendUnavailable
from rnnx_runtime.cuda import devices as cuda
from rnnx_runtime.cuda.buffers import DeviceBuffer


def test_device_count_names_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(BackendUnavailable, match=r"no cuda-bindings .+pip install cuda-bindings"):
        cuda.device_count()


@pytest.mark.parametrize(
    ("name", "number", "remedy"),
    [
        ("cudaErrorInsufficientDriver", 35, "driver"),
        ("cudaErrorNoDevice", 100, "CUDA_VISIBLE_DEVICES"),
        ("cudaErrorMemoryAllocation", 2, "nvidia-smi"),
    ],
)
def test_device_count_says_the_error_by_name_and_number(fake_cudart: Any, name: str, number: int, remedy: str) -> None:
    fake_cudart.failures["cudaGetDeviceCount"] = fake_cudart.cudaError_t[name]
    with pytest.raises(BackendUnavailable) as caught:
        cuda.device_count()
    assert caught.value.got == f"{name} ({number}), the meaning of {number}"
    assert remedy in caught.value.remedy


def test_no_devices_without_an_error_is_unavailable_too(fake_cudart: Any) -> None:
    fake_cudart.devices = 0
    with pytest.raises(BackendUnavailable, match="0 devices"):
        cuda.device_count()


def test_a_device_tells_its_name_and_compute_capability(fake_cudart: Any) -> None:
    fake_cudart.capability = (12, 0)
    assert (cuda.device_count(), cuda.current_device()) == (1, 0)
    assert (cuda.device_name(), cuda.compute_capability()) == ("Fake GPU", "12.0")


def test_closing_a_stream_twice_is_harmless(fake_cudart: Any) -> None:
    stream = cuda.Stream()
    for _ in range(2):
        stream.close()
    assert fake_cudart.is_empty


def test_a_timer_tells_the_devices_time_between_two_places(fake_cudart: Any) -> None:
    stream, buffer = cuda.Stream(), DeviceBuffer()
    timer = cuda.StreamTimer(stream)
    buffer.reserve(4)
    buffer.upload(4, stream)
    timer.start()
    for _ in range(3):
        buffer.download(4, stream)
    assert timer.stop_ms() == 3.0
    timer.start()
    assert timer.stop_ms() == 0.0


def test_a_timers_events_are_given_back(fake_cudart: Any) -> None:
    stream = cuda.Stream()
    timer = cuda.StreamTimer(stream)
    for _ in range(2):
        timer.close()
    stream.close()
    assert fake_cudart.is_empty


@pytest.mark.parametrize(
    "function",
    [
        "cudaGetDevice",
        "cudaGetDeviceProperties",
        "cudaDeviceGetAttribute",
        "cudaStreamCreateWithFlags",
        "cudaStreamSynchronize",
        "cudaStreamDestroy",
        "cudaMalloc",
        "cudaMallocHost",
        "cudaMemcpyAsync",
        "cudaFree",
        "cudaFreeHost",
        "cudaEventCreate",
        "cudaEventRecord",
        "cudaEventSynchronize",
        "cudaEventElapsedTime",
        "cudaEventDestroy",
    ],
)
def test_every_call_is_checked(fake_cudart: Any, function: str) -> None:
    fake_cudart.failures[function] = fake_cudart.cudaError_t.cudaErrorIllegalAddress
    with pytest.raises(BackendError, match=rf"CUDA {function}: got cudaErrorIllegalAddress \(700\), the meaning of"):
        _use_everything()


def _use_everything() -> None:
    cuda.current_device()
    cuda.device_name()
    cuda.compute_capability()
    stream, buffer = cuda.Stream(), DeviceBuffer()
    buffer.reserve(4)
    buffer.upload(4, stream)
    buffer.download(4, stream)
    stream.synchronize()
    timer = cuda.StreamTimer(stream)
    timer.start()
    timer.stop_ms()
    timer.close()
    buffer.close()
    stream.close()


def test_importing_the_module_loads_no_cuda_bindings() -> None:
    loaded = (
        "{name for name in sys.modules if name.split('.')[0] == 'cuda'}"  # cuda-bindings 12 is there from the start
    )
    script = f"import sys; before = {loaded}; import rnnx_runtime.cuda.devices; print(sorted({loaded} - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_real_cuda_bindings_give_a_reason_without_a_gpu() -> None:
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    try:
        cuda.device_count()
    except BackendUnavailable as error:
        assert error.got == "0 devices" or error.got.startswith("cudaError")  # noqa: PT017 - success is a skip
    else:
        pytest.skip(f"this machine has a GPU: {cuda.device_name()}")


@pytest.mark.gpu
def test_a_real_device_takes_time_for_a_copy() -> None:
    _skip_without_a_gpu()
    stream, buffer = cuda.Stream(), DeviceBuffer()
    buffer.reserve(1 << 24)
    timer = cuda.StreamTimer(stream)
    timer.start()
    buffer.upload(1 << 24, stream)
    assert 0.01 < timer.stop_ms() < 1000
    timer.close()
    buffer.close()
    stream.close()


@pytest.mark.gpu
def test_a_real_device_tells_its_name_and_compute_capability() -> None:
    _skip_without_a_gpu()
    assert cuda.device_name()
    assert float(cuda.compute_capability()) >= 5


def _skip_without_a_gpu() -> None:
    try:
        cuda.device_count()
    except BackendUnavailable as error:
        pytest.skip(str(error))
