"""The resize layer: nearest and linear, one axis after the other.

https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer/Graph/Layers.html#iresizelayer
"""

from collections.abc import Callable

import numpy as np

from rnnx.tensorrt_network.arithmetic import Evaluator
from rnnx.tensorrt_network.layers import Layer, sizes
from rnnx_runtime.array_type import Array

_COORDINATES: dict[str, Callable[[Array, int, int, float], Array]] = {
    "HALF_PIXEL": lambda places, length, count, scale: (places + 0.5) / scale - 0.5,
    "ASYMMETRIC": lambda places, length, count, scale: places / scale,
    "ALIGN_CORNERS": lambda places, length, count, scale: places * ((length - 1) / max(count - 1, 1)),
}
"""Where in an axis of `length` a place of the result of `count` is read."""

_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "HALF_DOWN": lambda at: np.ceil(at - 0.5),
    "HALF_UP": lambda at: np.floor(at + 0.5),
    "FLOOR": np.floor,
    "CEIL": np.ceil,
}


def compile_resize(layer: Layer) -> Evaluator:
    """A tensor at another size, which is the second input, or follows from the layer's own shape or scales."""
    native = layer.native
    mode, coordinates = native.resize_mode.name, native.coordinate_transformation.name
    rounding, scales, own = native.nearest_rounding.name, tuple(map(float, native.scales or ())), sizes(native.shape)
    if mode not in ("NEAREST", "LINEAR") or coordinates not in _COORDINATES or native.exclude_outside:
        raise layer.unsupported(f"mode {mode} with coordinates {coordinates}")

    def resize(x: Array, shape: Array | None = None) -> Array:
        if shape is not None:
            target = [int(size) for size in shape]
        else:
            target = [int(n * s) for n, s in zip(x.shape, scales, strict=True)] if scales else [*(own or x.shape)]
        for axis, (length, count) in enumerate(zip(x.shape, target, strict=True)):
            if length != count:
                scale = scales[axis] if scales else count / length
                at = _COORDINATES[coordinates](np.arange(count, dtype=np.float64), length, count, scale)
                x = _nearest(x, axis, at, rounding) if mode == "NEAREST" else _linear(x, axis, at)
        return x

    return resize


def _nearest(x: Array, axis: int, at: Array, rounding: str) -> Array:
    return np.take(x, _ROUNDINGS[rounding](at).astype(np.int64).clip(0, x.shape[axis] - 1), axis)


def _linear(x: Array, axis: int, at: Array) -> Array:
    last = x.shape[axis] - 1
    inside = at.clip(0, last)
    low = np.floor(inside).astype(np.int64)
    share = (inside - low).reshape([-1 if place == axis else 1 for place in range(x.ndim)])
    mixed = np.take(x, low, axis) * (1 - share) + np.take(x, np.minimum(low + 1, last), axis) * share
    return np.asarray(mixed, x.dtype)
