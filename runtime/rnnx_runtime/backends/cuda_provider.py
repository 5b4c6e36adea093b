"""Whether ONNX Runtime's CUDA provider works on this host, and proof that a session's nodes went there."""

import contextlib
import ctypes
import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rnnx_runtime.contract import Contract
from rnnx_runtime.cuda.devices import device_count
from rnnx_runtime.errors import BackendUnavailable


def require_cuda(onnxruntime: Any, contract: Contract) -> None:
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
        if any(own.form == "encoder" for own in contract.recurrent):
            # The LSTM and GRU kernels are cuDNN's. Newer providers load without it, and then those kernels fail:
            # https://github.com/microsoft/onnxruntime/pull/29252
            ctypes.CDLL("libcudnn.so.9")
    except OSError as error:
        raise _no_cuda(str(error), "pip install 'onnxruntime-gpu[cuda,cudnn]', or the system's packages") from None


def require_on_cuda(session: Any, cpu_operators: Iterable[str]) -> None:
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
