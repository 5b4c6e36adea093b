"""TensorRT and TensorRT for RTX: one engine, its buffers and its own CUDA stream."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.arrays.dim_sizes import shape_from_sizes, sizes_from_feeds
from rnnx_runtime.arrays.time_axis import time_of
from rnnx_runtime.backends.context import Binding, EngineContext
from rnnx_runtime.backends.engine import LoadedEngine, load_engine
from rnnx_runtime.backends.profile_choice import choose_profile
from rnnx_runtime.backends.session_options import SessionOptions
from rnnx_runtime.backends.step_graphs import StepGraphs
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.cuda.buffers import DeviceBuffer, HostBuffer
from rnnx_runtime.cuda.devices import Stream, StreamTimer
from rnnx_runtime.cuda.memory import DeviceArray, DeviceMemory
from rnnx_runtime.errors import BackendError
from rnnx_runtime.files.model_file import PlanFile
from rnnx_runtime.state import DeviceTensor


def open_backend(name: str, model: PlanFile, options: SessionOptions) -> "TensorRtBackend":
    """Open a .plan on `tensorrt` or `tensorrt-rtx`; raises as `rnnx_runtime.backends.table.open_backend`.

    `options` are ONNX Runtime's.
    """
    return TensorRtBackend(load_engine(name, model))


class _Output(NamedTuple):
    """Where a run leaves an output: in a `tensor` of its own, or in a buffer; `host` is where it is copied to."""

    spec: TensorSpec
    shape: tuple[int, ...]
    address: int
    tensor: DeviceArray | None
    host: HostBuffer | None

    @property
    def size(self) -> int:
        """In bytes."""
        return np.dtype(self.spec.dtype).itemsize * math.prod(self.shape)


class _Call(NamedTuple):
    """A run that is ready to be queued; it keeps its feeds, for tensors among them lie where the binding says."""

    feeds: Mapping[str, NDArray[Any] | DeviceTensor]
    binding: Binding
    uploads: list[tuple[DeviceBuffer, int]]
    outputs: list[_Output]
    is_step: bool


class TensorRtBackend:
    """One engine for all threads, a call at a time; states stay in device memory, and steps become CUDA graphs."""

    def __init__(self, loaded: LoadedEngine) -> None:
        self.device = loaded.device
        self._contract = contract = loaded.contract
        self._states = {pair.output for pair in contract.following}
        self._plain = {spec.name for spec in contract.plain_outputs}
        self._time = time_of(contract)
        self._is_open = _has_open_shapes(contract)
        self._profiles = loaded.profiles
        specs = (*self._contract.inputs, *self._contract.outputs)
        self._on_host = {spec.name for spec in specs if loaded.is_on_host(spec.name)}
        self._stream = Stream()
        self._loaded: LoadedEngine | None = loaded
        self._timer: StreamTimer | None = None
        self._lock = Lock()
        self._context = self._first_context(loaded)
        self._graphs = StepGraphs(loaded, self._stream)
        self._buffers = {spec.name: DeviceBuffer() for spec in specs}
        self._memory = DeviceMemory()

    def run(
        self, feeds: Mapping[str, NDArray[Any] | DeviceTensor], out: Mapping[str, NDArray[Any]] | None = None
    ) -> list[NDArray[Any] | DeviceTensor]:
        """Plain outputs as fresh arrays in host memory, states on the device; or written into `out`.

        Raises:
            InputError: no profile of the engine holds the sizes.
            BackendError: CUDA or TensorRT failed, or an output's shape depends on values.
        """
        out = out or {}
        with self._lock, self._settled():
            call = self._prepare(feeds, out)
            self._execute(call)
            self._stream.synchronize()
            return [self._result(output, out) for output in call.outputs]

    def resident(self, feeds: Mapping[str, NDArray[Any] | DeviceTensor]) -> Callable[[], float]:
        """A call that executes over inputs already uploaded and says the device's time in ms; raises as `run`."""
        with self._lock, self._settled():
            call = self._prepare(feeds, {})
            self._context.bind(call.binding)
            self._queue(self._context, call)  # uploads, and does what the first execution of a shape does once
            self._stream.synchronize()
            self._timer = self._timer or StreamTimer(self._stream)

        def run() -> float:
            with self._lock, self._settled():
                return self._timed_execution(call)

        return run

    def describe(self) -> dict[str, str | int | None]:
        """How steps run: the CUDA graphs captured, and why none are captured any more, if so."""
        return {"cuda_graphs": len(self._graphs), "cuda_graphs_failure": self._graphs.failure}

    def close(self) -> None:
        """Let go of the contexts, the engine, all memory and the stream, in the order they depend on each other.

        States that are still held keep their memory until they go.
        """
        with contextlib.ExitStack() as stack:  # the last one registered goes first, and one failure stops none
            stack.callback(self._stream.close)
            if self._timer is not None:
                stack.callback(self._timer.close)
            for buffer in self._buffers.values():
                stack.callback(buffer.close)
            stack.callback(self._memory.close)
            with contextlib.suppress(BackendError):  # a device lost in a run was reported by that run
                self._stream.synchronize()
            stack.callback(self._let_engine_go)

    def _first_context(self, loaded: LoadedEngine) -> EngineContext:
        try:
            return EngineContext(loaded, self._stream)
        except BackendError:
            self._stream.close()
            raise

    def _let_engine_go(self) -> None:
        try:
            self._graphs.close()
        finally:
            self._context.close()
            self._loaded = None

    def _prepare(self, feeds: Mapping[str, NDArray[Any] | DeviceTensor], out: Mapping[str, NDArray[Any]]) -> _Call:
        """Room for every tensor, and the input values in page-locked memory."""
        sizes = sizes_from_feeds(self._contract.inputs, feeds)
        profile = choose_profile(self._profiles, sizes)
        uploads: list[tuple[DeviceBuffer, int]] = []
        inputs = [self._place_input(spec, feeds[spec.name], uploads) for spec in self._contract.inputs]
        given = tuple(tuple(feeds[spec.name].shape) for spec in self._contract.inputs)
        shapes = self._output_shapes(sizes, Binding(profile, given, tuple(inputs)))
        pairs = zip(self._contract.outputs, shapes, strict=True)
        outputs = [self._place_output(spec, shape, out) for spec, shape in pairs]
        binding = Binding(
            profile,
            (*given, *(output.shape for output in outputs)),
            (*inputs, *(output.address for output in outputs)),
        )
        return _Call(feeds, binding, uploads, outputs, self._is_step(sizes))

    def _output_shapes(self, sizes: Mapping[str, int], binding: Binding) -> list[tuple[int, ...]]:
        """As the contract says them, or as the engine infers them where it says one in an expression."""
        if self._is_open:
            return self._context.output_shapes(binding)
        return [shape_from_sizes(spec, sizes) for spec in self._contract.outputs]

    def _place_input(
        self, spec: TensorSpec, value: NDArray[Any] | DeviceTensor, uploads: list[tuple[DeviceBuffer, int]]
    ) -> int:
        """The address of an input: its own on the device, or a buffer's that it is copied to."""
        if isinstance(value, DeviceArray):
            return value.address
        array = value if isinstance(value, np.ndarray) else value.numpy()
        buffer = self._buffers[spec.name]
        self._reserve(buffer, array.nbytes)
        np.copyto(buffer.host.view(spec.dtype, array.shape), array, casting="no")
        if spec.name in self._on_host:
            return buffer.host.address
        uploads.append((buffer, array.nbytes))
        return buffer.address

    def _place_output(self, spec: TensorSpec, shape: tuple[int, ...], out: Mapping[str, NDArray[Any]]) -> _Output:
        size = max(1, np.dtype(spec.dtype).itemsize * math.prod(shape))
        buffer = self._buffers[spec.name]
        if spec.name not in self._states or spec.name in self._on_host:
            self._reserve(buffer, size)
            address = buffer.host.address if spec.name in self._on_host else buffer.address
            return _Output(spec, shape, address, None, buffer.host)
        tensor = self._memory.tensor(spec, shape, self)
        if spec.name not in out and spec.name not in self._plain:  # a step's y is always wanted in host memory
            return _Output(spec, shape, tensor.address, tensor, None)
        self._reserve(buffer.host, size)
        return _Output(spec, shape, tensor.address, tensor, buffer.host)

    def _reserve(self, buffer: DeviceBuffer | HostBuffer, size: int) -> None:
        if size > buffer.capacity:
            self._graphs.clear()  # they use the memory that growing gives back
            buffer.reserve(size)

    def _is_step(self, sizes: Mapping[str, int]) -> bool:
        bare, decoder = self._contract.bare, self._contract.decoder
        if decoder is not None:
            return decoder.form == "step"
        return (bare is None or (bare.steps or 1) == 1) and (self._time is None or sizes[self._time] == 1)

    def _execute(self, call: _Call) -> None:
        """Queue a call, as a graph where it is a step that comes again."""
        if call.is_step and not self._on_host:  # a graph would keep the values that the host read at its capture
            copied = tuple(output.spec.name for output in call.outputs if output.host is not None)
            key = (call.binding, copied)
            if self._graphs.launch(call.binding, lambda context: self._queue(context, call), key):
                return
        self._context.bind(call.binding)
        self._queue(self._context, call)

    def _queue(self, context: EngineContext, call: _Call) -> None:
        """Copies in, the engine and copies out, in this order on one stream."""
        for buffer, size in call.uploads:
            buffer.upload(size, self._stream)
        context.execute()
        for output in call.outputs:
            if output.host is not None and output.spec.name not in self._on_host:
                output.host.download(output.address, output.size, self._stream)

    def _result(self, output: _Output, out: Mapping[str, NDArray[Any]]) -> NDArray[Any] | DeviceTensor:
        if output.host is None:
            assert output.tensor is not None
            return output.tensor
        values = output.host.view(output.spec.dtype, output.shape)
        target = out.get(output.spec.name)
        if target is not None:
            np.copyto(target, values, casting="no")
            return target
        if output.tensor is None:
            return values.copy()
        output.tensor.keep(values.copy())
        return output.tensor

    def _timed_execution(self, call: _Call) -> float:
        assert self._timer is not None
        self._context.bind(call.binding)
        self._timer.start()
        self._context.execute()
        return self._timer.stop_ms()

    @contextlib.contextmanager
    def _settled(self) -> Iterator[None]:
        """After a failure nothing may be queued that uses memory which is given back."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(BackendError):  # the first failure says more
                self._stream.synchronize()
            raise


def _has_open_shapes(contract: Contract) -> bool:
    """Whether an output's dims are more than sizes and the inputs' symbols."""
    free = set(contract.free_dims)
    return any(isinstance(dim, str) and dim not in free for spec in contract.outputs for dim in spec.dims)
