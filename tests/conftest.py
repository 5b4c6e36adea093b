"""What tests of both packages share: a CUDA runtime in NumPy, and an interpreter with the real onnxruntime-gpu."""

import platform
import subprocess
import sys
from collections.abc import Callable
from enum import IntEnum
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.mutants.score import pytest_terminal_summary as pytest_terminal_summary

ROOT = Path(__file__).parents[1]

KNOWN_GOOD = "onnxruntime-gpu==1.31.1"
"""The wheel these tests were written against, for a checkout whose constraints.txt names none."""


CudaError = IntEnum(
    "CudaError",
    {
        "cudaSuccess": 0,
        "cudaErrorMemoryAllocation": 2,
        "cudaErrorInsufficientDriver": 35,
        "cudaErrorNoDevice": 100,
        "cudaErrorIllegalAddress": 700,
    },
)
CopyKind = IntEnum("CopyKind", {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2})
DeviceAttribute = IntEnum(
    "DeviceAttribute", {"cudaDevAttrComputeCapabilityMajor": 75, "cudaDevAttrComputeCapabilityMinor": 76}
)


torch.set_num_threads(1)
"""The models here are small: more threads only wait for each other."""


class FakeCudart:
    """`cuda.bindings.runtime` in memory: what is queued on a stream happens in `cudaStreamSynchronize`, not before.

    `failures` maps a function's name to the error it gives from then on; `calls` are the functions called. Addresses
    of one kind of memory are refused where the other is needed. On the device each thing that was queued takes 1 ms.
    """

    def __init__(self) -> None:
        self.devices = 1
        self.capability = (8, 9)
        self.failures: dict[str, CudaError] = {}
        self.calls: list[str] = []
        self.device: dict[int, NDArray[Any]] = {}
        self.host: dict[int, NDArray[Any]] = {}
        self.queues: dict[int, list[Callable[[], None]]] = {}
        self.events: dict[int, float | None] = {}
        self.device_ms = 0.0
        self._handles = count(1000)
        self._constants = {
            "cudaError_t": CudaError,
            "cudaMemcpyKind": CopyKind,
            "cudaDeviceAttr": DeviceAttribute,
            "cudaStreamNonBlocking": 1,
        }
        self._functions: dict[str, Callable[..., tuple[Any, ...]]] = {
            "cudaGetDeviceCount": lambda: (self.devices,),
            "cudaGetDevice": lambda: (0,),
            "cudaGetDeviceProperties": lambda device: (_Properties(),),
            "cudaDeviceGetAttribute": lambda attribute, device: (self.capability[attribute - 75],),
            "cudaGetErrorString": lambda error: (f"the meaning of {int(error)}".encode(),),
            "cudaMalloc": lambda size: self._allocate(self.device, size),
            "cudaMallocHost": lambda size: self._allocate(self.host, size),
            "cudaFree": lambda address: self._free(self.device, address),
            "cudaFreeHost": lambda address: self._free(self.host, address),
            "cudaStreamCreateWithFlags": self._create_stream,
            "cudaStreamDestroy": self._destroy_stream,
            "cudaStreamSynchronize": self._synchronize,
            "cudaMemcpyAsync": self._copy,
            "cudaEventCreate": self._create_event,
            "cudaEventRecord": self._record,
            "cudaEventSynchronize": self._wait_for,
            "cudaEventElapsedTime": self._elapsed,
            "cudaEventDestroy": self._destroy_event,
        }

    @property
    def is_empty(self) -> bool:
        """Whether all memory and all streams were given back."""
        return not (self.device or self.host or self.queues or self.events)

    def __getattr__(self, name: str) -> Any:
        if name in self._constants:
            return self._constants[name]
        if name not in self._functions:
            raise AttributeError(name)

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            if name in self.failures:
                return (self.failures[name], None)
            return (CudaError.cudaSuccess, *self._functions[name](*arguments))

        return call

    def _allocate(self, memory: dict[int, NDArray[Any]], size: int) -> tuple[int]:
        block = np.full(size, 0xA5, np.uint8)  # never zeros, as on a device
        memory[block.ctypes.data] = block
        return (block.ctypes.data,)

    def _free(self, memory: dict[int, NDArray[Any]], address: int) -> tuple[()]:
        assert not any(self.queues.values()), "memory freed under queued work"
        del memory[address]
        return ()

    def _create_stream(self, flags: int) -> tuple[int]:
        assert flags == 1
        handle = next(self._handles)
        self.queues[handle] = []
        return (handle,)

    def _destroy_stream(self, stream: int) -> tuple[()]:
        assert not self.queues.pop(stream), "a stream destroyed with queued work"
        return ()

    def _synchronize(self, stream: int) -> tuple[()]:
        for work in self.queues[stream]:
            work()
            self.device_ms += not isinstance(work, _Mark)
        self.queues[stream].clear()
        return ()

    def _create_event(self) -> tuple[int]:
        handle = next(self._handles)
        self.events[handle] = None
        return (handle,)

    def _record(self, event: int, stream: int) -> tuple[()]:
        self.queues[stream].append(_Mark(self, event))
        return ()

    def _wait_for(self, event: int) -> tuple[()]:
        for stream, queue in self.queues.items():
            if any(isinstance(work, _Mark) and work.event == event for work in queue):
                self._synchronize(stream)
        return ()

    def _elapsed(self, start: int, end: int) -> tuple[float]:
        first, last = self.events[start], self.events[end]
        assert first is not None, "an event that was not recorded"
        assert last is not None, "an event that was not waited for"
        return (last - first,)

    def _destroy_event(self, event: int) -> tuple[()]:
        del self.events[event]
        return ()

    def _copy(self, target: int, source: int, size: int, kind: CopyKind, stream: int) -> tuple[()]:
        to, origin = (self.device, self.host) if kind == CopyKind.cudaMemcpyHostToDevice else (self.host, self.device)
        assert size <= min(to[target].nbytes, origin[source].nbytes)

        def work() -> None:
            to[target][:size] = origin[source][:size]

        self.queues[stream].append(work)
        return ()


class _Mark:
    """An event in a queue: when it is reached, it is the time on the device."""

    def __init__(self, cudart: FakeCudart, event: int) -> None:
        self._cudart, self.event = cudart, event

    def __call__(self) -> None:
        self._cudart.events[self.event] = self._cudart.device_ms


class _Properties:
    name = b"Fake GPU\0\0"


@pytest.fixture
def fake_cudart(monkeypatch: pytest.MonkeyPatch) -> FakeCudart:
    """One GPU that is not there, in place of cuda-bindings."""
    fake = FakeCudart()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", fake)
    return fake


@pytest.fixture(scope="session")
def gpu_python() -> Path:
    """The interpreter of an environment with the real onnxruntime-gpu and rnnx, on a machine without a GPU.

    The environment is kept in `.venv-gpu/` and made anew when what it is made of changes.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip(f"onnxruntime-gpu has no wheel for {sys.platform} on {platform.machine()}")
    python = _gpu_environment(ROOT / ".venv-gpu")
    found = subprocess.run([python, "-c", _PRINT_GPU], capture_output=True, text=True, check=True).stdout
    if found:
        pytest.skip(f"this machine has a GPU ({found.strip()}); these tests show what happens without one")
    return python


_PRINT_GPU = """
from rnnx_runtime import BackendUnavailable, cuda
try:
    cuda.device_count()
    print(cuda.device_name())
except BackendUnavailable:
    pass
"""


def _gpu_environment(folder: Path) -> Path:
    import fcntl  # Linux alone has it, and the caller is there

    constraints = ROOT / "constraints.txt"
    pins = constraints.read_text(encoding="utf-8") if constraints.is_file() else ""
    library = "onnxruntime-gpu" if "onnxruntime-gpu==" in pins else KNOWN_GOOD
    packages = [library, "cuda-bindings", "numpy", "click", "rich", *(["--constraint", str(constraints)] * bool(pins))]
    made_of = "\n".join([sys.version, str(ROOT), *packages, pins])
    environment, stamp = folder / "environment", folder / "made-of.txt"
    python = environment / "bin" / "python"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest-xdist's workers would install over each other
        if not stamp.is_file() or stamp.read_text(encoding="utf-8") != made_of:
            stamp.unlink(missing_ok=True)
            _run(sys.executable, "-m", "venv", "--clear", str(environment))
            _run(str(python), "-m", "pip", "install", *packages)
            _run(str(python), "-m", "pip", "install", "--no-deps", "--editable", str(ROOT))
            stamp.write_text(made_of, encoding="utf-8")
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
