"""An execution context of an engine, told from call to call only what changed."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from rnnx_runtime.backends.engine import LoadedEngine, refusal
from rnnx_runtime.cuda.devices import Stream
from rnnx_runtime.errors import BackendError


class Binding(NamedTuple):
    """What a context has to know to execute; shapes and addresses are the inputs', then the outputs'."""

    profile: int
    shapes: tuple[tuple[int, ...], ...]
    addresses: tuple[int, ...]


class EngineContext:
    """An execution context on a stream; `settings` is the runtime configuration that it is made with, if any."""

    def __init__(self, loaded: LoadedEngine, stream: Stream, settings: Any = None) -> None:
        self._logger = loaded.logger
        self._inputs = [spec.name for spec in loaded.contract.inputs]
        self._outputs = [spec.name for spec in loaded.contract.outputs]
        self._has_host_inputs = any(loaded.is_on_host(name) for name in self._inputs)
        self._stream = stream
        self._profile = 0  # a new context starts with the first profile
        self._bound: Binding | None = None
        engine = loaded.engine
        self._context: Any = engine.create_execution_context(*([] if settings is None else [settings]))
        self._require(self._context is not None, "making an execution context")

    def bind(self, binding: Binding) -> None:
        """Set what differs from the binding before it: profile, shapes, addresses.

        Raises:
            BackendError: TensorRT refused one, or gives an output another shape.
        """
        before, self._bound = self._bound, None  # after a refusal nothing is known to be set
        if binding.profile != self._profile:
            self._switch(binding.profile)
            before = None
        has_new_shapes = before is None or before.shapes != binding.shapes
        if has_new_shapes:
            self._set_shapes(binding.shapes)
        self._set_addresses(binding.addresses, repeat(0) if before is None else before.addresses)
        if has_new_shapes or self._has_host_inputs:  # whose values decide shapes
            self._infer_shapes()
            self._check_shapes(binding.shapes[len(self._inputs) :])
        self._bound = binding

    def output_shapes(self, binding: Binding) -> list[tuple[int, ...]]:
        """The outputs' shapes as the engine infers them; shapes and addresses of the binding are the inputs' alone.

        Raises:
            BackendError: TensorRT refused a shape, or an output's depends on values that are not there yet.
        """
        self._bound = None
        if binding.profile != self._profile:
            self._switch(binding.profile)
        self._set_shapes(binding.shapes)
        self._set_addresses(binding.addresses, repeat(0))
        self._infer_shapes()
        return [self._shape_of(name) for name in self._outputs]

    def is_capturable(self) -> bool:
        """Whether the library lets its executions be captured, as far as it can say."""
        says = getattr(self._context, "is_stream_capturable", None)  # TensorRT for RTX alone has it
        return says is None or bool(says(self._stream.handle))

    def execute(self) -> None:
        """Queue the engine's work; raises BackendError where TensorRT refuses."""
        self._require(self._context.execute_async_v3(self._stream.handle), "execution")

    def close(self) -> None:
        """Let go of the context, whose work must be done."""
        self._context = None

    def _switch(self, profile: int) -> None:
        switched = self._context.set_optimization_profile_async(profile, self._stream.handle)
        self._require(switched, f"switching to profile {profile}")
        self._profile = profile

    def _set_shapes(self, shapes: Sequence[tuple[int, ...]]) -> None:
        for name, shape in zip(self._inputs, shapes, strict=False):
            self._require(self._context.set_input_shape(name, shape), f"setting {name} to {shape}")

    def _set_addresses(self, addresses: Sequence[int], before: Iterable[int]) -> None:
        for name, address, known in zip([*self._inputs, *self._outputs], addresses, before, strict=False):
            if address != known:
                self._require(self._context.set_tensor_address(name, address), f"setting the address of {name}")

    def _infer_shapes(self) -> None:
        try:
            unspecified = self._context.infer_shapes()
        except RuntimeError as error:
            raise refusal("inferring shapes", self._logger, error) from error
        self._require(not unspecified, f"inferring shapes from all but {', '.join(unspecified)}")

    def _check_shapes(self, expected: Sequence[tuple[int, ...]]) -> None:
        for name, wanted in zip(self._outputs, expected, strict=True):
            shape = self._shape_of(name)
            self._require(shape == wanted, f"giving {name} the shape {shape}, not {wanted}")

    def _shape_of(self, name: str) -> tuple[int, ...]:
        shape = tuple(map(int, self._context.get_tensor_shape(name)))
        if min(shape, default=0) >= 0:
            return shape
        raise BackendError(
            f"output {name!r}",
            got=f"a shape of {shape} before it is computed",
            expected="one that follows from the inputs' shapes",
            remedy="run the .onnx on ONNX Runtime: this output's size depends on values",
        )

    def _require(self, holds: bool, action: str) -> None:
        if not holds:
            raise refusal(action, self._logger)


def capture_settings(loaded: LoadedEngine) -> Any:
    """The runtime configuration of contexts whose work is captured; None where the library needs none.

    TensorRT for RTX runs a stand-in for a shape until the shape's own kernels are compiled, and a graph would hold the
    stand-in for good; these contexts compile first, and share what was compiled.
    https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/inference-library/work-with-cuda-graphs.html

    Raises:
        BackendError: the library gives no configuration.
    """
    strategies = getattr(loaded.library, "DynamicShapesKernelSpecializationStrategy", None)
    if strategies is None:
        return None
    settings = loaded.engine.create_runtime_config()
    if settings is None:
        raise refusal("making a runtime configuration", loaded.logger)
    settings.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
    settings.set_runtime_cache(settings.create_runtime_cache())
    return settings
