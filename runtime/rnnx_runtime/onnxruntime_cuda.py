"""ONNX Runtime on CUDA: one session, its inputs and outputs bound."""

from collections.abc import Callable, Mapping
from importlib import import_module
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import Contract
from rnnx_runtime.onnxruntime_failures import failures_named
from rnnx_runtime.state import DeviceTensor


class OnnxRuntimeCudaBackend:
    """One ONNX Runtime session on a GPU."""

    def __init__(self, session: Any, contract: Contract, device: str) -> None:
        self.device = device
        self._session = session
        self._outputs = [spec.name for spec in contract.outputs]

    def run(
        self, feeds: Mapping[str, NDArray[Any] | DeviceTensor], out: Mapping[str, NDArray[Any]] | None = None
    ) -> list[NDArray[Any] | DeviceTensor]:
        """The outputs as fresh arrays in host memory, or written into `out`."""
        with failures_named():
            values: list[Any] = self._session.run(self._outputs, feeds)
        for index, name in enumerate(self._outputs):
            if out is not None and name in out:
                np.copyto(out[name], values[index], casting="no")
                values[index] = out[name]
        return values

    def resident(self, feeds: Mapping[str, NDArray[Any]]) -> Callable[[], float]:
        """A run through an I/O binding, timed by the host's clock up to the end of the device's work.

        ONNX Runtime's CUDA stream is its own, where no event of this process can be recorded.
        """
        with failures_named():
            binding = self._bound(feeds)

        def run() -> float:
            start = perf_counter_ns()
            with failures_named():
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
