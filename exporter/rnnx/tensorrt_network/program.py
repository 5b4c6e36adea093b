"""A parsed network as a program over NumPy arrays: read once, then run any number of times without TensorRT."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnx.tensorrt_network.compilation import Compilation
from rnnx.tensorrt_network.layers import Layer, Tensor, read_inputs, read_layers, read_outputs
from rnnx.tensorrt_network.nesting import nest
from rnnx.tensorrt_network.steps import run_steps
from rnnx.truths.blas_threads import one_thread
from rnnx_runtime.array_type import Array
from rnnx_runtime.errors import BackendError


class Program:
    """A network's inputs and outputs, the type of each of its tensors, and the steps between them."""

    def __init__(self, trt: Any, network: Any) -> None:
        """Read an `INetworkDefinition`, which may go afterwards.

        Raises:
            BackendUnavailable: it has a layer that is not evaluated; names it.
            BackendError: a part of it that depends on no input contradicts itself.
        """
        layers = read_layers(trt, network)
        self.inputs, self.outputs = read_inputs(network), read_outputs(network)
        self.types = _types(self.inputs, layers)
        compilation = Compilation()
        self._entries = [(tensor, tensor.dtype, compilation.place(tensor)) for tensor in self.inputs]
        with np.errstate(all="ignore"):
            self._steps = compilation.steps(nest(layers, frozenset(tensor.name for tensor in self.outputs)))
        self._exits = [(tensor.name, compilation.place(tensor)) for tensor in self.outputs]
        self._values = compilation.values

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name, from the inputs by name in any dtype that the network's own can be made from.

        Raises:
            BackendError: an input is missing or of another shape, or the sizes do not fit a layer, which is named.
        """
        values = self._values.copy()
        for tensor, dtype, place in self._entries:
            values[place] = np.array(_checked(tensor, feeds), dtype)  # a copy, for slices of it are remembered
        with one_thread(), np.errstate(all="ignore"):  # what is not finite shows in the outputs
            run_steps(self._steps, values)
        return {name: values[place] for name, place in self._exits}


def _types(inputs: tuple[Tensor, ...], layers: list[Layer]) -> dict[str, str]:
    """TensorRT's element type by the tensor's name, and of a constant also by the layer's, which the importer keeps."""
    tensors = [*inputs, *(tensor for layer in layers for tensor in layer.outputs)]
    constants = {layer.name: layer.outputs[0].type for layer in layers if layer.kind == "CONSTANT"}
    return constants | {tensor.name: tensor.type for tensor in tensors}


def _checked(tensor: Tensor, feeds: Mapping[str, Array]) -> Array:
    if tensor.name not in feeds:
        raise _unfit(tensor, f"no such input among {', '.join(feeds)}")
    shape = feeds[tensor.name].shape
    fits = len(shape) == len(tensor.shape) and all(
        own in (-1, size) for own, size in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        raise _unfit(tensor, str(shape))
    return feeds[tensor.name]


def _unfit(tensor: Tensor, got: str) -> BackendError:
    dims = ", ".join("?" if size < 0 else str(size) for size in tensor.shape)
    return BackendError(
        f"input {tensor.name!r} of the parsed network",
        got=got,
        expected=f"{tensor.type} ({dims})",
        remedy="where a size is a number, the graph was exported for it alone: export with dynamic axes",
    )
