"""Calls of cuda-bindings' runtime, which gives an error code and never raises: here every code becomes an error.

https://docs.nvidia.com/cuda/cuda-runtime-api/
"""

from importlib import import_module
from typing import Any

from rnnx_runtime.errors import BackendError


def load_cudart() -> Any:
    """cuda-bindings' runtime, the one place where it is imported; it needs neither a GPU nor a driver for that."""
    return import_module("cuda.bindings.runtime")


def call(cudart: Any, function: str, *arguments: Any) -> Any:
    """Call a function by its name and give its one value, None where it has none.

    Raises:
        BackendError: its error code is not cudaSuccess.
    """
    status, *values = getattr(cudart, function)(*arguments)
    if int(status):
        raise BackendError(
            f"CUDA {function}",
            got=error_text(cudart, status),
            expected="cudaSuccess (0)",
            remedy="out of memory, or a lost device: see nvidia-smi and the system log, then load the model again",
        )
    return values[0] if values else None


def error_text(cudart: Any, status: Any) -> str:
    """An error as its name, number and meaning: `cudaErrorNoDevice (100), no CUDA-capable device is detected`."""
    return f"{status.name} ({int(status)}), {cudart.cudaGetErrorString(status)[1].decode()}"
