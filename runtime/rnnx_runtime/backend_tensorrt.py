"""TensorRT and TensorRT for RTX: one engine, its buffers and its own CUDA stream."""

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import TensorSpec
from rnnx_runtime.cuda import DeviceBuffer, Stream, StreamTimer
from rnnx_runtime.errors import BackendError
from rnnx_runtime.model_file import PlanFile
from rnnx_runtime.profile_choice import choose_profile
from rnnx_runtime.session_options import SessionOptions
from rnnx_runtime.tensorrt_engine import LoadedEngine, load_engine, refusal

_ITEM_BYTES = 4  # float32 and int32, the only dtypes of a contract


def open_backend(name: str, model: PlanFile, options: SessionOptions) -> "TensorRtBackend":
    """Open a .plan on `tensorrt` or `tensorrt-rtx`; raises as `rnnx_runtime.backends.open_backend`.

    `options` are ONNX Runtime's.
    """
    return TensorRtBackend(load_engine(name, model))


class TensorRtBackend:
    """One execution context with a buffer for each input and output, reused and grown from call to call."""

    def __init__(self, loaded: LoadedEngine) -> None:
        self.device = loaded.device
        self._loaded: LoadedEngine | None = loaded
        self._logger = loaded.logger
        self._inputs = loaded.contract.inputs
        self._outputs = loaded.contract.outputs
        self._profiles = loaded.profiles
        self._profile = 0  # a new context starts with the first profile
        self._on_host = {spec.name for spec in (*self._inputs, *self._outputs) if _is_on_host(loaded, spec.name)}
        self._context: Any = loaded.engine.create_execution_context()
        self._require(self._context is not None, "making an execution context")
        self._stream = Stream()
        self._timer: StreamTimer | None = None
        self._buffers = {spec.name: DeviceBuffer() for spec in (*self._inputs, *self._outputs)}

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs as fresh arrays in host memory.

        Raises:
            InputError: no profile of the engine holds the sizes.
            BackendError: CUDA or TensorRT failed.
        """
        shapes = self._prepare(feeds)
        self._execute(feeds, shapes)
        return [
            self._buffers[spec.name].host_view(spec.dtype, shape).copy()
            for spec, shape in zip(self._outputs, shapes, strict=True)
        ]

    def resident(self, feeds: Mapping[str, NDArray[Any]]) -> Callable[[], float]:
        """A call that executes over inputs already uploaded and says the device's time in ms; raises as `run`."""
        shapes = self._prepare(feeds)
        self._execute(feeds, shapes)  # uploads, and does what the first execution of a shape does once
        self._timer = self._timer or StreamTimer(self._stream)
        return self._timed_execution

    def close(self) -> None:
        """Let go of the context, the engine, all memory and the stream, in the order they depend on each other."""
        with contextlib.ExitStack() as stack:  # the last one registered goes first, and one failure stops none
            stack.callback(self._stream.close)
            if self._timer is not None:
                stack.callback(self._timer.close)
            for buffer in self._buffers.values():
                stack.callback(buffer.close)
            with contextlib.suppress(BackendError):  # a device lost in a run was reported by that run
                self._stream.synchronize()
            self._context = None
            self._loaded = None

    def _prepare(self, feeds: Mapping[str, NDArray[Any]]) -> list[tuple[int, ...]]:
        """Profile, input values in host memory, addresses and shapes; gives the outputs' shapes."""
        sizes = _sizes(self._inputs, feeds)
        self._use_profile(choose_profile(self._profiles, sizes))
        for spec in self._inputs:
            self._bind_input(spec, feeds[spec.name])
        self._infer_shapes()
        return [self._bind_output(spec, sizes) for spec in self._outputs]

    def _timed_execution(self) -> float:
        assert self._timer is not None
        self._timer.start()
        self._require(self._context.execute_async_v3(self._stream.handle), "execution")
        return self._timer.stop_ms()

    def _use_profile(self, index: int) -> None:
        if index != self._profile:
            switched = self._context.set_optimization_profile_async(index, self._stream.handle)
            self._require(switched, f"switching to profile {index}")
            self._profile = index

    def _bind_input(self, spec: TensorSpec, value: NDArray[Any]) -> None:
        buffer = self._buffers[spec.name]
        buffer.reserve(value.nbytes)
        np.copyto(buffer.host_view(spec.dtype, value.shape), value, casting="no")
        self._require(self._context.set_input_shape(spec.name, value.shape), f"setting {spec.name} to {value.shape}")
        self._bind(spec.name, buffer)

    def _bind_output(self, spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
        shape = tuple(map(int, self._context.get_tensor_shape(spec.name)))
        expected = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims)
        self._require(shape == expected, f"giving {spec.name} the shape {shape}, not {expected}")
        buffer = self._buffers[spec.name]
        buffer.reserve(_ITEM_BYTES * math.prod(shape))
        self._bind(spec.name, buffer)
        return shape

    def _bind(self, name: str, buffer: DeviceBuffer) -> None:
        address = buffer.host_address if name in self._on_host else buffer.device_address
        self._require(self._context.set_tensor_address(name, address), f"setting the address of {name}")

    def _infer_shapes(self) -> None:
        try:
            unspecified = self._context.infer_shapes()
        except RuntimeError as error:
            raise refusal("inferring shapes", self._logger, error) from error
        self._require(not unspecified, f"inferring shapes from all but {', '.join(unspecified)}")

    def _execute(self, feeds: Mapping[str, NDArray[Any]], shapes: list[tuple[int, ...]]) -> None:
        """Copies in, the engine and copies out, in this order on one stream, then wait."""
        for spec in self._inputs:
            if spec.name not in self._on_host:
                self._buffers[spec.name].upload(feeds[spec.name].nbytes, self._stream)
        self._require(self._context.execute_async_v3(self._stream.handle), "execution")
        for spec, shape in zip(self._outputs, shapes, strict=True):
            if spec.name not in self._on_host:
                self._buffers[spec.name].download(_ITEM_BYTES * math.prod(shape), self._stream)
        self._stream.synchronize()

    def _require(self, holds: bool, action: str) -> None:
        if not holds:
            raise refusal(action, self._logger)


def _is_on_host(loaded: LoadedEngine, name: str) -> bool:
    """Whether the engine reads or writes a tensor in host memory, as it does where a shape depends on its values."""
    host = loaded.library.TensorLocation.HOST
    return bool(loaded.engine.get_tensor_location(name) == host or loaded.engine.is_shape_inference_io(name))


def _sizes(specs: tuple[TensorSpec, ...], feeds: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """The size of each symbolic dim, such as `{"T": 20, "B": 3}`."""
    return {
        dim: size
        for spec in specs
        for dim, size in zip(spec.dims, feeds[spec.name].shape, strict=True)
        if isinstance(dim, str)
    }
