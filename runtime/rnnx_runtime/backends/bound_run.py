"""A run of ONNX Runtime on host memory that is bound once."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from rnnx_runtime.backends.onnxruntime_failures import failures_named


class BoundRun:
    """Reads the feeds and writes every output where they lie; calls go without a look at any array."""

    __slots__ = ("__weakref__", "_binding", "_held", "_run")

    def __init__(self, session: Any, feeds: Mapping[str, NDArray[Any]], out: Mapping[str, NDArray[Any]]) -> None:
        self._held: Any = (feeds, out)  # bound by address
        self._binding = binding = session.io_binding()
        self._run: Any = session.run_with_iobinding
        for name, value in feeds.items():
            binding.bind_input(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)
        for name, value in out.items():
            binding.bind_output(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)

    def __call__(self) -> None:
        """Run once; raises BackendError."""
        try:
            self._run(self._binding)
        except Exception:
            with failures_named():
                raise

    def release(self) -> None:
        """Let go of the session and of the memory; to be called once no run is under way or will be."""
        self._binding = self._run = self._held = None
