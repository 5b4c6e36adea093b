"""ONNX Runtime on CUDA: one session, its inputs and outputs bound, states left on the device."""

from collections.abc import Callable, Mapping
from importlib import import_module
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.arrays.dim_sizes import dims_from_feeds, shape_from_sizes
from rnnx_runtime.backends.onnxruntime_failures import failures_named
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.cuda.memory import DeviceArray, DeviceMemory
from rnnx_runtime.state import DeviceTensor


class OnnxRuntimeCudaBackend:
    """One ONNX Runtime session on a GPU; every call has a binding of its own, so threads need no lock."""

    def __init__(self, session: Any, contract: Contract, device: str) -> None:
        self.device = device
        self._session = session
        self._inputs = contract.inputs
        self._outputs = contract.outputs
        self._states = {pair.output for pair in contract.following}
        self._lengths = set(contract.lengths)
        self._memory = DeviceMemory()

    def run(
        self, feeds: Mapping[str, NDArray[Any] | DeviceTensor], out: Mapping[str, NDArray[Any]] | None = None
    ) -> list[NDArray[Any] | DeviceTensor]:
        """Plain outputs as fresh arrays in host memory, states on the device; or written into `out`.

        An output whose dims are expressions is given room by ONNX Runtime itself.

        ONNX Runtime waits for the device before it returns, unless a run option says otherwise:
        https://github.com/microsoft/onnxruntime/blob/main/include/onnxruntime/core/session/onnxruntime_run_options_config_keys.h
        """
        sizes = dims_from_feeds(self._inputs, feeds)
        values = [self._room(spec, sizes, out or {}) for spec in self._outputs]
        with failures_named():
            binding = self._session.io_binding()
            for name, value in feeds.items():
                _bind_input(binding, name, value)
            for spec, room in zip(self._outputs, values, strict=True):
                _bind_output(binding, spec, room)
            self._session.run_with_iobinding(binding)
            if all(room is not None for room in values):
                return [room for room in values if room is not None]
            made = binding.get_outputs()
            return [own.numpy() if room is None else room for own, room in zip(made, values, strict=True)]

    def resident(self, feeds: Mapping[str, NDArray[Any] | DeviceTensor]) -> Callable[[], float]:
        """A run through an I/O binding, timed by the host's clock up to the end of the device's work.

        ONNX Runtime's CUDA stream is its own, where no event of this process can be recorded.
        """
        with failures_named():
            binding = self._bound_on_device(feeds)

        def run(held: object = feeds) -> float:  # tensors among the feeds are bound by address
            start = perf_counter_ns()
            with failures_named():
                self._session.run_with_iobinding(binding)
                binding.synchronize_outputs()
            return (perf_counter_ns() - start) / 1e6

        return run

    def close(self) -> None:
        """Let go of the session and of device memory; states that are still held keep theirs until they go."""
        self._session = None
        self._memory.close()

    def _room(
        self, spec: TensorSpec, sizes: Mapping[str, int], out: Mapping[str, NDArray[Any]]
    ) -> NDArray[Any] | DeviceArray | None:
        """Where an output goes: the caller's array, fresh host memory, a block on the device; None: ask afterwards."""
        if spec.name in out:
            return out[spec.name]
        if not all(isinstance(dim, int) or dim in sizes for dim in spec.dims):
            return None
        shape = shape_from_sizes(spec, sizes)
        return self._memory.tensor(spec, shape, self) if spec.name in self._states else np.empty(shape, spec.dtype)

    def _bound_on_device(self, feeds: Mapping[str, NDArray[Any] | DeviceTensor]) -> Any:
        """A binding of inputs that lie on the GPU or are copied there, and of outputs that stay there."""
        ort_value = import_module("onnxruntime").OrtValue
        binding = self._session.io_binding()
        for name, value in feeds.items():
            if isinstance(value, DeviceArray):
                _bind_input(binding, name, value)
            else:
                place = "cpu" if name in self._lengths else "cuda"  # cuDNN's kernels read lengths from host memory
                binding.bind_ortvalue_input(name, ort_value.ortvalue_from_numpy(value, place, 0))
        for spec in self._outputs:
            binding.bind_output(spec.name, "cuda", 0)
        binding.synchronize_inputs()
        return binding


def _bind_input(binding: Any, name: str, value: NDArray[Any] | DeviceTensor) -> None:
    if isinstance(value, DeviceArray):
        binding.bind_input(name, "cuda", 0, value.dtype.type, value.shape, value.address)
    else:  # copied to where the model reads it: to the GPU, but for lengths
        binding.bind_cpu_input(name, value)


def _bind_output(binding: Any, spec: TensorSpec, room: NDArray[Any] | DeviceArray | None) -> None:
    if room is None:
        binding.bind_output(spec.name, "cpu")
    elif isinstance(room, DeviceArray):
        binding.bind_output(spec.name, "cuda", 0, room.dtype.type, room.shape, room.address)
    else:
        binding.bind_output(spec.name, "cpu", 0, room.dtype.type, room.shape, room.ctypes.data)
