"""CUDA devices and streams."""

from typing import Any

from rnnx_runtime.cuda.calls import call, error_text, load_cudart
from rnnx_runtime.errors import BackendUnavailable

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
        cudart = load_cudart()
    except ImportError as error:
        raise _no_device(f"no cuda-bindings ({error})", "pip install cuda-bindings") from None
    status, count = cudart.cudaGetDeviceCount()
    if int(status):
        remedy = _REMEDIES.get(int(status), "check that nvidia-smi works in this environment")
        raise _no_device(error_text(cudart, status), remedy)
    if count < 1:
        raise _no_device("0 devices", _REMEDIES[100])
    return int(count)


def current_device() -> int:
    """The device that this thread's allocations and kernels go to; 0 unless the program chose another."""
    return int(call(load_cudart(), "cudaGetDevice"))


def device_name(device: int = 0) -> str:
    """The name of a device, such as `"NVIDIA L4"`."""
    name: bytes = call(load_cudart(), "cudaGetDeviceProperties", device).name
    return name.split(b"\0")[0].decode()


def compute_capability(device: int = 0) -> str:
    """The compute capability of a device, such as `"8.9"`."""
    cudart = load_cudart()
    attributes = cudart.cudaDeviceAttr
    major = call(cudart, "cudaDeviceGetAttribute", attributes.cudaDevAttrComputeCapabilityMajor, device)
    minor = call(cudart, "cudaDeviceGetAttribute", attributes.cudaDevAttrComputeCapabilityMinor, device)
    return f"{int(major)}.{int(minor)}"


class Stream:
    """A queue of copies and kernels that run in order, apart from the default stream of the service's other work."""

    def __init__(self) -> None:
        self._cudart = load_cudart()
        self._stream: Any = call(self._cudart, "cudaStreamCreateWithFlags", self._cudart.cudaStreamNonBlocking)

    @property
    def handle(self) -> int:
        """The `cudaStream_t` as a number."""
        return int(self._stream)

    def synchronize(self) -> None:
        """Wait until all that was queued is done."""
        call(self._cudart, "cudaStreamSynchronize", self._stream)

    def close(self) -> None:
        """Give the stream back; closing twice is harmless."""
        stream, self._stream = self._stream, 0
        if int(stream):
            call(self._cudart, "cudaStreamDestroy", stream)


class StreamTimer:
    """The device's own time between two places of a stream, whatever the host does meanwhile.

    https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__EVENT.html
    """

    def __init__(self, stream: Stream) -> None:
        self._cudart = load_cudart()
        self._stream = stream
        self._start: Any = call(self._cudart, "cudaEventCreate")
        self._stop: Any = call(self._cudart, "cudaEventCreate")

    def start(self) -> None:
        """Mark the first place."""
        call(self._cudart, "cudaEventRecord", self._start, self._stream.handle)

    def stop_ms(self) -> float:
        """Mark the second place, wait until the device has reached it, and say the time between the two in ms."""
        call(self._cudart, "cudaEventRecord", self._stop, self._stream.handle)
        call(self._cudart, "cudaEventSynchronize", self._stop)
        return float(call(self._cudart, "cudaEventElapsedTime", self._start, self._stop))

    def close(self) -> None:
        """Give the events back; closing twice is harmless."""
        events, self._start, self._stop = (self._start, self._stop), None, None
        for event in events:
            if event is not None:
                call(self._cudart, "cudaEventDestroy", event)


def _no_device(got: str, remedy: str) -> BackendUnavailable:
    return BackendUnavailable("CUDA device", got=got, expected="a GPU and its driver", remedy=remedy)
