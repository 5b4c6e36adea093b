"""What tests of both packages share: a CUDA runtime in NumPy, and an interpreter with the real onnxruntime-gpu."""

import ctypes
import gc
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
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

SLOW = (
    "benchmarks",
    "examples",
    "models",
    "rnnx/adopting/test_adoption.py",
    "rnnx/building/test_engine.py",
    "rnnx/cli",
    "rnnx/decoders",
    "rnnx/diagnosis/test_differential.py",
    "rnnx/graphs/test_engine_notes.py",
    "rnnx/graphs/test_value_checks.py",
    "rnnx/linting/test_forged_models.py",
    "rnnx/reports/test_contract_schema.py",
    "rnnx/reports/test_html_in_browser.py",
    "rnnx/reports/test_json_report.py",
    "rnnx/timing",
    "rnnx/tracing",
    "rnnx/verifying",
    "rnnx_runtime/pool/test_equals_one_by_one.py",
    "rnnx_runtime/pool/test_lifetimes.py",
    "rnnx_runtime/pool/test_signal_points.py",
    "rnnx_runtime/seq2seq/test_pair.py",
    "rnnx_runtime/test_gpu_wheel.py",
    "test_every_model.py",
    "test_seed_calls.py",
    "test_wheel.py",
)
"""Rooms and files whose tests take minutes together: most trace whole models, or start processes that import torch."""

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
        "cudaErrorStreamCaptureUnsupported": 900,
        "cudaErrorStreamCaptureInvalidated": 901,
    },
)
CopyKind = IntEnum("CopyKind", {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2})
CaptureMode = IntEnum("CaptureMode", {"cudaStreamCaptureModeThreadLocal": 1})
DeviceAttribute = IntEnum(
    "DeviceAttribute", {"cudaDevAttrComputeCapabilityMajor": 75, "cudaDevAttrComputeCapabilityMinor": 76}
)


torch.set_num_threads(1)
"""The models here are small: more threads only wait for each other."""

gc.set_threshold(200_000)
"""Traces make many objects, and each full look at those of torch and of all tests takes half a second."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in a slow room or file, for `make quick` to leave it out; files of slow tests come first.

    So two processes end at about the same time, which share out the files in this order.
    """
    places = {ROOT / "tests" / name for name in SLOW}
    slow = {path: not places.isdisjoint((path, *path.parents)) for path in {item.path for item in items}}
    for item in items:
        if slow[item.path]:
            item.add_marker("slow")
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """Leave all that was imported out of later collections: `gc.collect()` beside it takes half a second each time."""
    _freeze()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The same for what the tests of a file imported."""
    if nextitem is None or nextitem.path != item.path:
        _freeze()


def _freeze() -> None:
    gc.collect()
    gc.freeze()


class FakeCudart:
    """`cuda.bindings.runtime` in memory: what is queued on a stream happens in `cudaStreamSynchronize`, not before.

    `failures` maps a function's name to the error it gives from then on; `calls` are the functions called. Addresses
    of one kind of memory are refused where the other is needed. On the device each thing that was queued takes 1 ms.

    What is queued during a capture happens at each launch of its graph, on what lies at the captured addresses then.
    Memory that a graph uses must outlive it, and a capture is spoilt by a call that CUDA forbids in one.
    """

    def __init__(self) -> None:
        self.devices = 1
        self.capability = (8, 9)
        self.failures: dict[str, CudaError] = {}
        self.calls: list[str] = []
        self.device: dict[int, NDArray[Any]] = {}
        self.host: dict[int, NDArray[Any]] = {}
        self.queues: dict[int, list[Callable[[], None]]] = {}
        self.captures: dict[int, list[Callable[[], None]] | None] = {}  # None: spoilt
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.executables: dict[int, list[Callable[[], None]]] = {}
        self.events: dict[int, float | None] = {}
        self.device_ms = 0.0
        self._handles = count(1000)
        self._constants = {
            "cudaError_t": CudaError,
            "cudaMemcpyKind": CopyKind,
            "cudaDeviceAttr": DeviceAttribute,
            "cudaStreamCaptureMode": CaptureMode,
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
            "cudaGetLastError": lambda: (),
            "cudaStreamBeginCapture": self._begin_capture,
            "cudaStreamEndCapture": self._end_capture,
            "cudaGraphInstantiate": self._instantiate,
            "cudaGraphDestroy": self._destroy_graph,
            "cudaGraphLaunch": self._launch,
            "cudaGraphExecDestroy": self._destroy_executable,
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
        """Whether all memory, streams, events and graphs were given back."""
        return not (self.device or self.host or self.queues or self.events or self.graphs or self.executables)

    def queue(self, stream: int, work: Callable[[], None]) -> None:
        """Put work on a stream, or into its capture."""
        if stream not in self.captures:
            self.queues[stream].append(work)
        elif (captured := self.captures[stream]) is not None:
            captured.append(work)

    def __getattr__(self, name: str) -> Any:
        if name in self._constants:
            return self._constants[name]
        if name not in self._functions:
            raise AttributeError(name)

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            if name in self.failures:
                if name == "cudaStreamEndCapture":  # ends it even so
                    self.captures.pop(arguments[0])
                return (self.failures[name], None)
            try:
                return (CudaError.cudaSuccess, *self._functions[name](*arguments))
            except _Refused as refused:
                return (refused.error, 0)

        return call

    def _allocate(self, memory: dict[int, NDArray[Any]], size: int) -> tuple[int]:
        self._spoil_captures()
        block = np.full(size, 0xA5, np.uint8)  # never zeros, as on a device
        memory[block.ctypes.data] = block
        return (block.ctypes.data,)

    def _free(self, memory: dict[int, NDArray[Any]], address: int) -> tuple[()]:
        self._spoil_captures()
        assert not any(self.queues.values()), "memory freed under queued work"
        used = {used for works in self.executables.values() for work in works for used in addresses_of(work)}
        assert address not in used, "memory freed that a graph uses"
        del memory[address]
        return ()

    def _spoil_captures(self) -> None:
        """What a call that may wait for the device does to a capture of its thread."""
        if self.captures:
            self.captures = dict.fromkeys(self.captures)
            raise _Refused(CudaError.cudaErrorStreamCaptureUnsupported)

    def _begin_capture(self, stream: int, mode: int) -> tuple[()]:
        assert mode == CaptureMode.cudaStreamCaptureModeThreadLocal
        assert stream not in self.captures
        self.captures[stream] = []
        return ()

    def _end_capture(self, stream: int) -> tuple[int]:
        works = self.captures.pop(stream)
        if works is None:
            raise _Refused(CudaError.cudaErrorStreamCaptureInvalidated)
        handle = next(self._handles)
        self.graphs[handle] = works
        return (handle,)

    def _instantiate(self, graph: int, flags: int) -> tuple[int]:
        assert flags == 0
        handle = next(self._handles)
        self.executables[handle] = list(self.graphs[graph])
        return (handle,)

    def _destroy_graph(self, graph: int) -> tuple[()]:
        del self.graphs[graph]
        return ()

    def _launch(self, executable: int, stream: int) -> tuple[()]:
        assert executable in self.executables, "a graph launched that was destroyed"
        for work in self.executables[executable]:
            self.queue(stream, work)
        return ()

    def _destroy_executable(self, executable: int) -> tuple[()]:
        queued = [work for queue in self.queues.values() for work in queue]
        works = self.executables.pop(executable)
        assert not any(work in queued for work in works), "a graph destroyed while it runs"
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
        if stream in self.captures:
            self._spoil_captures()
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
        self.queue(stream, _Mark(self, event))
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
        to_device = kind == CopyKind.cudaMemcpyHostToDevice
        to, origin = (self.device, self.host) if to_device else (self.host, self.device)
        assert size <= origin[source].nbytes
        if target not in to and not to_device:
            assert stream not in self.captures, "ordinary host memory in a graph"
            ordinary = (ctypes.c_uint8 * size).from_address(target)
            to, target = {0: np.frombuffer(memoryview(ordinary), np.uint8)}, 0
        assert size <= to[target].nbytes
        self.queue(stream, _Copy(to=to, target=target, origin=origin, source=source, size=size))
        return ()


class _Refused(Exception):  # noqa: N818 - an answer, not a failure of the stand-in
    """An error code that CUDA would give."""

    def __init__(self, error: CudaError) -> None:
        self.error = error


@dataclass(frozen=True, kw_only=True, eq=False)
class _Copy:
    """A queued copy, which looks up what lies at its addresses when it happens."""

    to: dict[int, NDArray[Any]]
    target: int
    origin: dict[int, NDArray[Any]]
    source: int
    size: int

    @property
    def addresses(self) -> tuple[int, ...]:
        return self.target, self.source

    def __call__(self) -> None:
        self.to[self.target][: self.size] = self.origin[self.source][: self.size]


def addresses_of(work: Callable[[], None]) -> tuple[int, ...]:
    """The memory that queued work reads and writes, as far as it says."""
    return getattr(work, "addresses", ())


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
from rnnx_runtime.cuda import devices
from rnnx_runtime.errors import BackendUnavailable
try:
    devices.device_count()
    print(devices.device_name())
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
