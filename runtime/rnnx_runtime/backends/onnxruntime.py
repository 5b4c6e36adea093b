"""Opening ONNX Runtime's sessions on CPU and CUDA, and running those on CPU."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any
from weakref import WeakSet

from numpy.typing import NDArray

from rnnx_runtime.backends.bound_run import BoundRun
from rnnx_runtime.backends.cuda_provider import require_cuda, require_on_cuda
from rnnx_runtime.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend
from rnnx_runtime.backends.onnxruntime_failures import failures_named, one_line
from rnnx_runtime.backends.session_options import SessionOptions
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.cuda.devices import device_name
from rnnx_runtime.errors import BackendError, BackendUnavailable, ContractError
from rnnx_runtime.files.model_file import OnnxFile
from rnnx_runtime.state import DeviceTensor

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
}

SHAPE_OPERATORS = (
    "Add", "And", "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand", "Gather", "Greater",
    "Less", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Range", "ReduceMax", "ReduceProd", "Reshape", "Shape", "Slice",
    "Squeeze", "Sub", "Unsqueeze", "Where",
)  # fmt: skip
"""Operators of shape arithmetic, which ONNX Runtime rightly keeps on the CPU beside a GPU."""

_HALF = ("float16", "bfloat16")
_CRASHING_IN_HALF = ["MatmulTransposeFusion"]
"""What ends the process of ONNX Runtime 1.26 and 1.32 on a CPU, where a Transpose of halves goes into a MatMul."""


class OnnxRuntimeBackend:
    """One ONNX Runtime session on the CPU."""

    device = "CPU"

    def __init__(self, session: Any, contract: Contract) -> None:
        self._session = session
        self._outputs = [spec.name for spec in contract.outputs]
        self._bound: WeakSet[BoundRun] = WeakSet()

    def run(
        self, feeds: Mapping[str, NDArray[Any] | DeviceTensor], out: Mapping[str, NDArray[Any]] | None = None
    ) -> list[NDArray[Any] | DeviceTensor]:
        """The outputs as fresh arrays in host memory, or written into `out`."""
        try:
            values: list[Any] = self._session.run(self._outputs, feeds)
        except Exception:
            with failures_named():  # here and not around the call, which it would cost some 2 µs each time
                raise
        if out is not None:
            # Copied, for with its outputs bound to the buffers ONNX Runtime takes 15 µs more a call, and wins 0 to 2 %
            # where an output has 2 MiB or more.
            for name, buffer in out.items():
                place = self._outputs.index(name)
                buffer[...] = values[place]
                values[place] = buffer
        return values

    def bind(self, feeds: Mapping[str, NDArray[Any]], out: Mapping[str, NDArray[Any]]) -> BoundRun:
        """A run that reads these arrays and writes every output into these."""
        with failures_named():
            run = BoundRun(self._session, feeds, out)
        self._bound.add(run)
        return run

    def close(self) -> None:
        """Let go of the session, and of what is bound to it."""
        self._session = None
        for run in list(self._bound):
            run.release()


def open_backend(name: str, model: OnnxFile, options: SessionOptions) -> OnnxRuntimeBackend | OnnxRuntimeCudaBackend:
    """Open an .onnx on `ort-cpu` or `ort-cuda`; raises as `rnnx_runtime.backends.table.open_backend`.

    A whole model's shape arithmetic may stay on the CPU of a GPU.
    """
    operators = () if model.contract.bare else SHAPE_OPERATORS
    session, device = open_session(name, model, options, cpu_operators=operators)
    try:
        _check_signature(session, model)
    except UnicodeDecodeError:
        raise ContractError(
            f"inputs and outputs of {model.path}",
            got="a name that is not UTF-8",
            expected="those of its contract",
            remedy="the graph and its contract disagree: export the model again",
        ) from None
    if name == "ort-cuda":
        return OnnxRuntimeCudaBackend(session, model.contract, device)
    return OnnxRuntimeBackend(session, model.contract)


def open_session(
    name: str, model: OnnxFile, options: SessionOptions, *, cpu_operators: Iterable[str] = ()
) -> tuple[Any, str]:
    """An `InferenceSession` on `ort-cpu` or `ort-cuda`, and its device; `cpu_operators` may stay on the CPU of a GPU.

    Raises:
        BackendUnavailable: this host cannot run it; says exactly why.
        BackendError: ONNX Runtime refused the file.
    """
    onnxruntime = _library(name)
    cuda = name == "ort-cuda"
    if cuda:
        require_cuda(onnxruntime, model.contract)
    session = _session(onnxruntime, model, options, cuda)
    if cuda:
        require_on_cuda(session, cpu_operators)
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


def _session(onnxruntime: Any, model: OnnxFile, options: SessionOptions, cuda: bool) -> Any:
    settings = _settings(onnxruntime, options)
    providers: list[Any] = ["CPUExecutionProvider"]
    if cuda:
        settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": "0"}))
    source = str(model.path) if model.external_data else model.data
    crashes = model.contract.precision in _HALF and not cuda
    more = {"disabled_optimizers": _CRASHING_IN_HALF} if crashes else {}
    try:
        return onnxruntime.InferenceSession(source, settings, providers=providers, enable_fallback=0, **more)
    except Exception as error:  # ONNX Runtime's own errors share no base but Exception
        raise BackendError(
            f"ONNX Runtime {onnxruntime.__version__} loading {model.path.name}",
            got=one_line(error),
            expected="a session",
            remedy="a newer ONNX Runtime, or an export with a lower opset, may be needed",
        ) from error


def _settings(onnxruntime: Any, options: SessionOptions) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")
    settings.log_severity_level = 4  # an error is raised with its whole message; the log would print it once more
    return settings


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
        if not _agree(actual, declared, by_rank=side == "outputs" and model.contract.bare is None):
            raise ContractError(
                f"{side} of {model.path}",
                got=_listing(actual),
                expected=_listing(declared),
                remedy="the graph and its contract disagree: export the model again",
            )


def _agree(actual: tuple[TensorSpec, ...], declared: tuple[TensorSpec, ...], *, by_rank: bool) -> bool:
    """Whether two signatures are the same; `by_rank` leaves open what size stands where a dim is an expression."""
    if not by_rank:
        return actual == declared
    return len(actual) == len(declared) and all(
        (one.name, one.dtype, len(one.dims)) == (other.name, other.dtype, len(other.dims))
        and all(
            a == b or isinstance(b, str) or not isinstance(a, int) for a, b in zip(one.dims, other.dims, strict=True)
        )
        for one, other in zip(actual, declared, strict=True)
    )


def _listing(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {spec.shape}" for spec in specs)
