"""ONNX Runtime on CPU and CUDA, with proof of where the nodes went."""

import contextlib
import ctypes
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.cuda import device_count, device_name
from rnnx_runtime.errors import BackendError, BackendUnavailable, ContractError
from rnnx_runtime.model_file import OnnxFile
from rnnx_runtime.state import DeviceTensor

_DTYPES = {"tensor(float)": "float32", "tensor(int32)": "int32"}


class OnnxRuntimeBackend:
    """One ONNX Runtime session."""

    def __init__(self, session: Any, contract: Contract, device: str) -> None:
        self.device = device
        self._session = session
        self._outputs = [spec.name for spec in contract.outputs]

    def run(
        self, feeds: Mapping[str, NDArray[Any] | DeviceTensor], out: Mapping[str, NDArray[Any]] | None = None
    ) -> list[NDArray[Any] | DeviceTensor]:
        """The outputs as fresh arrays in host memory, or written into `out`."""
        with _failures_named():
            values: list[NDArray[Any] | DeviceTensor] = self._session.run(self._outputs, feeds)
        return values if out is None else _written(values, self._outputs, out)

    def resident(self, feeds: Mapping[str, NDArray[Any]]) -> Callable[[], float] | None:
        """A run through an I/O binding, timed by the host's clock up to the end of the device's work; None on a CPU.

        ONNX Runtime's CUDA stream is its own, where no event of this process can be recorded.
        """
        if self.device == "CPU":
            return None
        with _failures_named():
            binding = self._bound(feeds)

        def run() -> float:
            start = perf_counter_ns()
            with _failures_named():
                self._session.run_with_iobinding(binding)
                binding.synchronize_outputs()
            return (perf_counter_ns() - start) / 1e6

        return run

    def _bound(self, feeds: Mapping[str, NDArray[Any]]) -> Any:
        """A binding of inputs copied to the GPU, and of outputs that stay there."""
        ort_value = import_module("onnxruntime").OrtValue
        binding = self._session.io_binding()
        for name, value in feeds.items():
            place = "cpu" if name == "lengths" else "cuda"  # cuDNN's kernels read lengths from host memory
            binding.bind_ortvalue_input(name, ort_value.ortvalue_from_numpy(value, place, 0))
        for name in self._outputs:
            binding.bind_output(name, "cuda", 0)
        binding.synchronize_inputs()
        return binding

    def close(self) -> None:
        """Let go of the session."""
        self._session = None


def _written(
    values: list[NDArray[Any] | DeviceTensor], names: list[str], out: Mapping[str, NDArray[Any]]
) -> list[NDArray[Any] | DeviceTensor]:
    for index, name in enumerate(names):
        if name in out:
            np.copyto(out[name], values[index], casting="no")
            values[index] = out[name]
    return values


@contextlib.contextmanager
def _failures_named() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # ONNX Runtime's own errors share no base but Exception
        raise BackendError(
            "ONNX Runtime run",
            got=_one_line(error),
            expected="a result",
            remedy="the inputs passed rnnx's checks: look for lack of memory, else report this message",
        ) from error


def open_backend(name: str, model: OnnxFile, threads: int) -> OnnxRuntimeBackend:
    """Open an .onnx on `ort-cpu` or `ort-cuda`; raises as `rnnx_runtime.backends.open_backend`."""
    session, device = open_session(name, model, threads)
    _check_signature(session, model)
    return OnnxRuntimeBackend(session, model.contract, device)


def open_session(name: str, model: OnnxFile, threads: int, *, cpu_operators: Iterable[str] = ()) -> tuple[Any, str]:
    """An `InferenceSession` on `ort-cpu` or `ort-cuda`, and its device; `cpu_operators` may stay on the CPU of a GPU.

    Raises:
        BackendUnavailable: this host cannot run it; says exactly why.
        BackendError: ONNX Runtime refused the file.
    """
    onnxruntime = _library(name)
    cuda = name == "ort-cuda"
    if cuda:
        _require_cuda(onnxruntime, model.contract)
    session = _session(onnxruntime, model, threads, cuda)
    if cuda:
        _require_on_cuda(session, cpu_operators)
    return session, device_name() if cuda else "CPU"


def _library(name: str) -> Any:
    extra = "gpu" if name == "ort-cuda" else "cpu"
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime"
        raise BackendUnavailable(
            f"backend {name}",
            got="no onnxruntime package" if missing else f"a broken onnxruntime package ({error})",
            expected="it installed",
            remedy=f"pip install {'' if missing else '--force-reinstall '}'rnnx[{extra}]'",
        ) from None


def _session(onnxruntime: Any, model: OnnxFile, threads: int, cuda: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # an error is raised with its whole message; the log would print it once more
    providers: list[Any] = ["CPUExecutionProvider"]
    if cuda:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": "0"}))
    source = str(model.path) if model.external_data else model.data
    try:
        return onnxruntime.InferenceSession(source, options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's own errors share no base but Exception
        raise BackendError(
            f"ONNX Runtime {onnxruntime.__version__} loading {model.path.name}",
            got=_one_line(error),
            expected="a session",
            remedy="a newer ONNX Runtime, or an export with a lower --opset, may be needed",
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _check_signature(session: Any, model: OnnxFile) -> None:
    pairs = (
        ("inputs", session.get_inputs(), model.contract.inputs),
        ("outputs", session.get_outputs(), model.contract.outputs),
    )
    for side, found, declared in pairs:
        actual = tuple(
            TensorSpec(name=value.name, dtype=_DTYPES.get(value.type, value.type), dims=tuple(value.shape))
            for value in found
        )
        if actual != declared:
            raise ContractError(
                f"{side} of {model.path}",
                got=_listing(actual),
                expected=_listing(declared),
                remedy="the graph and its contract disagree: export the model again",
            )


def _listing(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {spec.shape}" for spec in specs)


def _require_cuda(onnxruntime: Any, contract: Contract) -> None:
    """Find out why CUDA cannot work before a session is made, for making one would fall back to CPU without a word."""
    version = onnxruntime.__version__
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise _no_cuda(
            f"onnxruntime {version}, a build without CUDA",
            "pip uninstall onnxruntime, then pip install 'rnnx[gpu]' (the two packages share one import name)",
        )
    if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        raise _no_cuda(
            f"onnxruntime {version}, which cannot say where each node runs",
            "install onnxruntime-gpu 1.24 or newer",
        )
    device_count()
    if sys.platform == "linux":  # elsewhere the libraries have other names and the session check alone decides
        _require_libraries(onnxruntime, contract)


def _require_libraries(onnxruntime: Any, contract: Contract) -> None:
    """Load what the CUDA provider loads; the loader's message names the library that is missing."""
    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is not None:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find; the check after it says so
            preload()
    folder = Path(onnxruntime.__file__).parent / "capi"
    try:
        # The CUDA provider takes symbols from the shared one, which ONNX Runtime loads first too.
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / "libonnxruntime_providers_cuda.so"))
        if contract.form == "encoder":
            # The LSTM and GRU kernels are cuDNN's. Newer providers load without it, and then those kernels fail:
            # https://github.com/microsoft/onnxruntime/pull/29252
            ctypes.CDLL("libcudnn.so.9")
    except OSError as error:
        raise _no_cuda(str(error), "pip install 'onnxruntime-gpu[cuda,cudnn]', or the system's packages") from None


def _require_on_cuda(session: Any, cpu_operators: Iterable[str]) -> None:
    """Refuse a session with a node off CUDA, whatever the provider list says: no graph of rnnx needs the CPU."""
    first = session.get_providers()[0]
    if first != "CUDAExecutionProvider":
        raise _no_cuda(f"a session on {first}", "see ONNX Runtime's message on stderr")
    for subgraph in session.get_provider_graph_assignment_info():
        if subgraph.ep_name != "CUDAExecutionProvider":
            operators = sorted({node.op_type for node in subgraph.get_nodes()} - set(cpu_operators))
            if operators:
                where = f"{', '.join(operators)} on {subgraph.ep_name}"
                raise _no_cuda(where, "this ONNX Runtime has no CUDA kernel for it")


def _no_cuda(got: str, remedy: str) -> BackendUnavailable:
    return BackendUnavailable("backend ort-cuda", got=got, expected="a working CUDA provider", remedy=remedy)
