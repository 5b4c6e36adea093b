"""Layers that move values and change shapes, and calculate nothing."""

from collections.abc import Sequence

import numpy as np

from rnnx.tensorrt_network.arithmetic import Evaluator
from rnnx.tensorrt_network.layers import Layer, sizes
from rnnx_runtime.array_type import Array


def compile_constant(layer: Layer) -> Evaluator:
    """The layer's own values, copied out of the network's memory.

    Raises:
        BackendUnavailable: TensorRT's Python module does not give values of this type.
    """
    weights = layer.native.weights
    if not isinstance(weights, np.ndarray):
        raise layer.unsupported(f"values of type {layer.outputs[0].type}, which TensorRT gives no Python program")
    values = np.array(weights, layer.dtype).reshape(sizes(layer.native.shape) or ())
    return lambda: values


def compile_shuffle(layer: Layer) -> Evaluator:
    """A transpose, a reshape to the layer's own dims or to its second input, and another transpose."""
    first, second = (tuple(getattr(layer.native, f"{place}_transpose")) for place in ("first", "second"))
    own, copies_zeros = sizes(layer.native.reshape_dims), bool(layer.native.zero_is_placeholder)

    def shuffle(x: Array, dims: Array | None = None) -> Array:
        moved = _transposed(x, first)
        target = own if dims is None else dims.tolist()
        return _transposed(moved if target is None else _reshaped(moved, target, copies_zeros), second)

    return shuffle


def _transposed(x: Array, permutation: tuple[int, ...]) -> Array:
    order = permutation[: x.ndim]
    return x if order == _IDENTITY[: x.ndim] else x.transpose(order)


_IDENTITY = tuple(range(64))


def _reshaped(x: Array, dims: Sequence[int], copies_zeros: bool) -> Array:
    if copies_zeros and 0 in dims:
        dims = [size or x.shape[axis] for axis, size in enumerate(dims)]
    return x.reshape(dims)


def compile_unsqueeze(layer: Layer) -> Evaluator:
    """New axes of size 1 at the places, in the result, that the second input names."""
    axes = _constant_axes(layer)
    rank = len(layer.outputs[0].shape)
    places = {axis % rank for axis in axes}
    key = tuple(np.newaxis if axis in places else slice(None) for axis in range(rank))
    return lambda x, axes: x[key]


def compile_squeeze(layer: Layer) -> Evaluator:
    """Without the axes, all of size 1, that the second input names; all of that size where there is none."""
    if len(layer.inputs) == 1:
        rank = len(layer.outputs[0].shape)
        return lambda x: x.reshape([size for size in x.shape if size != 1] or [1] * rank)
    axes = _constant_axes(layer)
    return lambda x, _: x.squeeze(axes)


def _constant_axes(layer: Layer) -> tuple[int, ...]:
    axes = layer.constants[1]
    if axes is None:
        raise layer.unsupported("axes that are calculated")
    return tuple(int(axis) for axis in axes)


def compile_shape(layer: Layer) -> Evaluator:
    """The sizes of a tensor."""
    dtype = layer.dtype
    return lambda x: np.array(x.shape, dtype)


def compile_concatenation(layer: Layer) -> Evaluator:
    """Tensors joined along an axis."""
    axis = int(layer.native.axis)
    return lambda *tensors: np.concatenate(tensors, axis)


def compile_reverse_sequence(layer: Layer) -> Evaluator:
    """Each row of a batch reversed up to its own length, the second input."""
    batch_axis, time_axis = int(layer.native.batch_axis), int(layer.native.sequence_axis)

    def reverse(x: Array, lengths: Array) -> Array:
        rows = np.moveaxis(x, (batch_axis, time_axis), (0, 1)).copy()
        for row, length in zip(rows, lengths, strict=True):
            row[:length] = row[:length][::-1].copy()
        return np.moveaxis(rows, (0, 1), (batch_axis, time_axis))

    return reverse
