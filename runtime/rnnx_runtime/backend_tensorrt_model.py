"""TensorRT and TensorRT for RTX over a whole model: any dtypes, and output shapes that the engine itself says.

Every input and output goes through host memory, states too: a whole model's call is long beside a copy of its states.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import TensorSpec
from rnnx_runtime.cuda import Stream
from rnnx_runtime.cuda_buffers import DeviceBuffer
from rnnx_runtime.dim_sizes import sizes_from_feeds
from rnnx_runtime.errors import BackendError
from rnnx_runtime.profile_choice import choose_profile
from rnnx_runtime.state import DeviceTensor
from rnnx_runtime.tensorrt_engine import LoadedEngine, refusal

Array = NDArray[Any]
Shape = tuple[int, ...]


class TensorRtModelBackend:
    """One engine for all threads, a call at a time."""

    def __init__(self, loaded: LoadedEngine) -> None:
        self.device = loaded.device
        self._inputs, self._outputs = loaded.contract.inputs, loaded.contract.outputs
        self._profiles = loaded.profiles
        self._on_host = {spec.name for spec in (*self._inputs, *self._outputs) if loaded.is_on_host(spec.name)}
        self._lock = Lock()
        self._logger = loaded.logger
        self._profile = 0  # a new context starts with the first profile
        self._stream = Stream()
        self._loaded: LoadedEngine | None = loaded
        self._context: Any = loaded.engine.create_execution_context()
        if self._context is None:
            self._stream.close()
            raise refusal("making an execution context", self._logger)
        self._buffers = {spec.name: DeviceBuffer() for spec in (*self._inputs, *self._outputs)}

    def run(
        self, feeds: Mapping[str, Array | DeviceTensor], out: Mapping[str, Array] | None = None
    ) -> list[Array | DeviceTensor]:
        """The outputs as fresh arrays in host memory, or written into `out`.

        Raises:
            InputError: no profile of the engine holds the sizes.
            BackendError: CUDA or TensorRT failed, or an output's shape depends on values.
        """
        values = {name: own if isinstance(own, np.ndarray) else own.numpy() for name, own in feeds.items()}
        with self._lock, self._settled():
            self._switch(choose_profile(self._profiles, sizes_from_feeds(self._inputs, values)))
            for spec in self._inputs:
                self._place_input(spec, values[spec.name])
            self._infer_shapes()
            shapes = [self._place_output(spec) for spec in self._outputs]
            self._upload(values)  # after all room is made: growing a buffer frees memory, which no copy may be using
            self._require(self._context.execute_async_v3(self._stream.handle), "execution")
            for spec, shape in zip(self._outputs, shapes, strict=True):
                if spec.name not in self._on_host:
                    self._buffers[spec.name].download(_size(spec, shape), self._stream)
            self._stream.synchronize()
            return [self._result(spec, shape, out or {}) for spec, shape in zip(self._outputs, shapes, strict=True)]

    def close(self) -> None:
        """Let go of the context, the engine, all memory and the stream, in the order they depend on each other."""
        with contextlib.ExitStack() as stack:  # the last one registered goes first, and one failure stops none
            stack.callback(self._stream.close)
            for buffer in self._buffers.values():
                stack.callback(buffer.close)
            with contextlib.suppress(BackendError):  # a device lost in a run was reported by that run
                self._stream.synchronize()
            self._context = self._loaded = None

    def _switch(self, profile: int) -> None:
        if profile != self._profile:
            switched = self._context.set_optimization_profile_async(profile, self._stream.handle)
            self._require(switched, f"switching to profile {profile}")
            self._profile = profile

    def _place_input(self, spec: TensorSpec, value: Array) -> None:
        """Make room for an input, copy it to page-locked memory, and say where the engine reads it."""
        buffer = self._buffers[spec.name]
        buffer.reserve(value.nbytes)
        np.copyto(buffer.host.view(spec.dtype, value.shape), value, casting="no")
        self._require(self._context.set_input_shape(spec.name, value.shape), f"setting {spec.name} to {value.shape}")
        self._bind(spec.name)

    def _upload(self, values: Mapping[str, Array]) -> None:
        for name, value in values.items():
            if name not in self._on_host:
                self._buffers[name].upload(value.nbytes, self._stream)

    def _place_output(self, spec: TensorSpec) -> Shape:
        """Room for an output of the shape that the engine inferred."""
        shape = tuple(map(int, self._context.get_tensor_shape(spec.name)))
        if min(shape, default=0) < 0:
            raise BackendError(
                f"output {spec.name!r}",
                got=f"a shape of {shape} before it is computed",
                expected="one that follows from the inputs' shapes",
                remedy="run the .onnx on ONNX Runtime: this output's size depends on values",
            )
        self._buffers[spec.name].reserve(max(1, _size(spec, shape)))
        self._bind(spec.name)
        return shape

    def _bind(self, name: str) -> None:
        buffer = self._buffers[name]
        address = buffer.host.address if name in self._on_host else buffer.address
        self._require(self._context.set_tensor_address(name, address), f"setting the address of {name}")

    def _infer_shapes(self) -> None:
        try:
            unspecified = self._context.infer_shapes()
        except RuntimeError as error:
            raise refusal("inferring shapes", self._logger, error) from error
        self._require(not unspecified, f"inferring shapes from all but {', '.join(unspecified)}")

    def _result(self, spec: TensorSpec, shape: Shape, out: Mapping[str, Array]) -> Array:
        values = self._buffers[spec.name].host.view(spec.dtype, shape)
        target = out.get(spec.name)
        if target is None:
            return values.copy()
        np.copyto(target, values, casting="no")
        return target

    def _require(self, holds: bool, action: str) -> None:
        if not holds:
            raise refusal(action, self._logger)

    @contextlib.contextmanager
    def _settled(self) -> Iterator[None]:
        """After a failure nothing may be queued that uses memory which is given back."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(BackendError):  # the first failure says more
                self._stream.synchronize()
            raise


def _size(spec: TensorSpec, shape: Shape) -> int:
    """In bytes."""
    return np.dtype(spec.dtype).itemsize * math.prod(shape)
