"""CUDA devices, streams and memory through cuda-bindings, whose import needs neither a GPU nor a driver.

Every call gives an error code and never raises, so every code is checked here.
https://docs.nvidia.com/cuda/cuda-runtime-api/
"""

import ctypes
import math
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.errors import BackendError, BackendUnavailable

_REMEDIES = {
    35: "install the NVIDIA driver, or a newer one: it is missing or older than the CUDA of cuda-bindings",
    100: "check nvidia-smi and CUDA_VISIBLE_DEVICES: the driver shows this process no GPU",
}
"""What to do when counting devices fails, by error number."""


def device_count() -> int:
    """The number of GPUs this process can use, at least one.

    Raises:
        BackendUnavailable: cuda-bindings is not installed, the driver is missing or too old, or there is no GPU.
    """
    try:
        cudart = _cudart()
    except ImportError as error:
        raise _no_device(f"no cuda-bindings ({error})", "pip install cuda-bindings") from None
    status, count = cudart.cudaGetDeviceCount()
    if int(status):
        remedy = _REMEDIES.get(int(status), "check that nvidia-smi works in this environment")
        raise _no_device(_text(cudart, status), remedy)
    if count < 1:
        raise _no_device("0 devices", _REMEDIES[100])
    return int(count)


def current_device() -> int:
    """The device that this thread's allocations and kernels go to; 0 unless the program chose another."""
    return int(_call(_cudart(), "cudaGetDevice"))


def device_name(device: int = 0) -> str:
    """The name of a device, such as `"NVIDIA L4"`."""
    name: bytes = _call(_cudart(), "cudaGetDeviceProperties", device).name
    return name.split(b"\0")[0].decode()


def compute_capability(device: int = 0) -> str:
    """The compute capability of a device, such as `"8.9"`."""
    cudart = _cudart()
    attributes = cudart.cudaDeviceAttr
    major = _call(cudart, "cudaDeviceGetAttribute", attributes.cudaDevAttrComputeCapabilityMajor, device)
    minor = _call(cudart, "cudaDeviceGetAttribute", attributes.cudaDevAttrComputeCapabilityMinor, device)
    return f"{int(major)}.{int(minor)}"


class Stream:
    """A queue of copies and kernels that run in order, apart from the default stream of the service's other work."""

    def __init__(self) -> None:
        self._cudart = _cudart()
        self._stream: Any = _call(self._cudart, "cudaStreamCreateWithFlags", self._cudart.cudaStreamNonBlocking)

    @property
    def handle(self) -> int:
        """The `cudaStream_t` as a number."""
        return int(self._stream)

    def synchronize(self) -> None:
        """Wait until all that was queued is done."""
        _call(self._cudart, "cudaStreamSynchronize", self._stream)

    def close(self) -> None:
        """Give the stream back; closing twice is harmless."""
        stream, self._stream = self._stream, 0
        if int(stream):
            _call(self._cudart, "cudaStreamDestroy", stream)


class StreamTimer:
    """The device's own time between two places of a stream, whatever the host does meanwhile.

    https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__EVENT.html
    """

    def __init__(self, stream: Stream) -> None:
        self._cudart = _cudart()
        self._stream = stream
        self._start: Any = _call(self._cudart, "cudaEventCreate")
        self._stop: Any = _call(self._cudart, "cudaEventCreate")

    def start(self) -> None:
        """Mark the first place."""
        _call(self._cudart, "cudaEventRecord", self._start, self._stream.handle)

    def stop_ms(self) -> float:
        """Mark the second place, wait until the device has reached it, and say the time between the two in ms."""
        _call(self._cudart, "cudaEventRecord", self._stop, self._stream.handle)
        _call(self._cudart, "cudaEventSynchronize", self._stop)
        return float(_call(self._cudart, "cudaEventElapsedTime", self._start, self._stop))

    def close(self) -> None:
        """Give the events back; closing twice is harmless."""
        events, self._start, self._stop = (self._start, self._stop), None, None
        for event in events:
            if event is not None:
                _call(self._cudart, "cudaEventDestroy", event)


class DeviceBuffer:
    """Device memory that only grows, with a page-locked twin on the host through which every copy goes.

    A copy to or from ordinary host memory is staged by the driver and blocks; from page-locked memory it is queued.
    """

    def __init__(self) -> None:
        self._cudart = _cudart()
        self.capacity = 0
        self.device_address = 0
        self.host_address = 0
        self._host = np.empty(0, np.uint8)

    def reserve(self, size: int) -> None:
        """Make room for `size` bytes; what the buffer held is lost when it grows."""
        if size <= self.capacity:
            return
        self.close()
        capacity = 1 << (size - 1).bit_length()  # powers of two, or each longer sequence would allocate again
        self.device_address = int(_call(self._cudart, "cudaMalloc", capacity))
        self.host_address = int(_call(self._cudart, "cudaMallocHost", capacity))
        memory = (ctypes.c_char * capacity).from_address(self.host_address)
        self._host = np.frombuffer(memoryview(memory), np.uint8)
        self.capacity = capacity

    def host_view(self, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """The host twin's first bytes as an array; valid until the buffer grows or is closed."""
        values = np.dtype(dtype)
        size = values.itemsize * math.prod(shape)
        if size > self.capacity:
            raise ValueError(f"a view of {size} bytes into a buffer of {self.capacity}")
        return self._host[:size].view(values).reshape(shape)

    def upload(self, size: int, stream: Stream) -> None:
        """Queue a copy of the first `size` bytes to the device; the host twin must not change until it is done."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        _call(self._cudart, "cudaMemcpyAsync", self.device_address, self.host_address, size, kind, stream.handle)

    def download(self, size: int, stream: Stream) -> None:
        """Queue a copy of the first `size` bytes from the device; the host twin holds them after `synchronize`."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _call(self._cudart, "cudaMemcpyAsync", self.host_address, self.device_address, size, kind, stream.handle)

    def close(self) -> None:
        """Free both memories; the buffer can be used again, and closing twice is harmless."""
        device, host = self.device_address, self.host_address
        self.device_address = self.host_address = self.capacity = 0
        self._host = np.empty(0, np.uint8)
        try:
            if device:
                _call(self._cudart, "cudaFree", device)
        finally:
            if host:
                _call(self._cudart, "cudaFreeHost", host)


def _cudart() -> Any:
    """cuda-bindings' runtime, the one place where it is imported."""
    return import_module("cuda.bindings.runtime")


def _call(cudart: Any, function: str, *arguments: Any) -> Any:
    status, *values = getattr(cudart, function)(*arguments)
    if int(status):
        raise BackendError(
            f"CUDA {function}",
            got=_text(cudart, status),
            expected="cudaSuccess (0)",
            remedy="out of memory, or a lost device: see nvidia-smi and the system log, then load the model again",
        )
    return values[0] if values else None


def _text(cudart: Any, status: Any) -> str:
    """An error as its name, number and meaning: `cudaErrorNoDevice (100), no CUDA-capable device is detected`."""
    return f"{status.name} ({int(status)}), {cudart.cudaGetErrorString(status)[1].decode()}"


def _no_device(got: str, remedy: str) -> BackendUnavailable:
    return BackendUnavailable("CUDA device", got=got, expected="a GPU and its driver", remedy=remedy)
