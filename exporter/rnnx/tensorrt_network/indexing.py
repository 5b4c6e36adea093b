"""Layers that choose among values: gather and scatter as the ONNX operators of these names, select, top-k, one-hot.

https://onnx.ai/onnx/operators/onnx__GatherND.html and its neighbours, which `tensorrt.GatherMode` refers to.
"""

import numpy as np

from rnnx.tensorrt_network.arithmetic import Evaluator
from rnnx.tensorrt_network.layers import Layer, axes_of, lane
from rnnx_runtime.array_type import Array


def compile_gather(layer: Layer) -> Evaluator:
    """Values at indices: along an axis, one for each index, or at places of several axes."""
    mode, axis, shared = layer.native.mode.name, int(layer.native.axis), int(layer.native.num_elementwise_dims)
    if mode == "ELEMENT":
        return lambda data, indices: data[_grid(indices, axis)]
    if mode == "ND":
        return lambda data, indices: _gather_nd(data, indices, shared)
    if mode != "DEFAULT" or shared > 1:
        raise layer.unsupported(f"mode {mode} with {shared} axes taken element by element")
    if shared:
        return lambda data, indices: np.stack(
            [np.take(own, places, axis - 1) for own, places in zip(data, indices, strict=True)]
        )
    return lambda data, indices: np.take(data, indices, axis)


def _grid(indices: Array, axis: int) -> tuple[Array, ...]:
    """The place of each index: its own, but along the axis the index itself."""
    places: list[Array] = list(np.indices(indices.shape, sparse=True))
    places[axis] = indices
    return tuple(places)


def _gather_nd(data: Array, indices: Array, shared: int) -> Array:
    lead, places = indices.shape[:shared], indices.shape[-1]
    rows = data.reshape(-1, *data.shape[shared:])
    grid = indices.reshape(len(rows), -1, places)
    found = np.stack([own[tuple(at.T)] for own, at in zip(rows, grid, strict=True)])
    return found.reshape(*lead, *indices.shape[shared:-1], *data.shape[shared + places :])


def compile_scatter(layer: Layer) -> Evaluator:
    """A copy of the first input with the third written to the places that the second names."""
    mode, axis = layer.native.mode.name, int(layer.native.axis)

    def scatter(data: Array, indices: Array, updates: Array) -> Array:
        result = data.copy()
        result[tuple(np.moveaxis(indices, -1, 0)) if mode == "ND" else _grid(indices, axis)] = updates
        return result

    return scatter


def compile_select(layer: Layer) -> Evaluator:
    """The second input where the first is true, the third elsewhere."""
    return np.where


def compile_top_k(layer: Layer) -> Evaluator:
    """The k largest or smallest values of an axis in order, and their indices."""
    (axis,) = axes_of(layer.native.axes)
    own, largest, dtype = int(layer.native.k), layer.native.op.name == "MAX", layer.outputs[1].dtype

    def top_k(x: Array, k: Array | None = None) -> tuple[Array, Array]:
        order = np.argsort(-x if largest else x, axis=axis, kind="stable")
        best = np.take(order, range(own if k is None else int(k)), axis)
        return np.take_along_axis(x, best, axis), best.astype(dtype)

    return top_k


def compile_one_hot(layer: Layer) -> Evaluator:
    """Along a new axis of size depth, the value for on at each index and the one for off elsewhere."""
    axis = int(layer.native.axis)

    def one_hot(indices: Array, values: Array, depth: Array) -> Array:
        hits = np.expand_dims(indices, axis) == lane(np.arange(int(depth)), axis, indices.ndim + 1)
        chosen: Array = np.where(hits, values[1], values[0])
        return chosen

    return one_hot


def compile_non_zero(layer: Layer) -> Evaluator:
    """The places of values that are not zero, `(rank, count)`."""
    dtype = layer.dtype
    return lambda x: np.stack(np.nonzero(x)).astype(dtype)
