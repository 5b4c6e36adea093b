"""Layers between element types, and layers that make values from nothing but a shape."""

import numpy as np

from rnnx.tensorrt_network.arithmetic import Evaluator
from rnnx.tensorrt_network.layers import Layer, lane, sizes
from rnnx_runtime.array_type import Array

_RANGES = {"INT8": (-128.0, 127.0), "FP8": (-448.0, 448.0)}
"""The smallest and largest value of each type that is quantized to."""


def compile_cast(layer: Layer) -> Evaluator:
    """The same values in the output's type; serves cast and identity, which TensorRT also lets convert."""
    dtype = layer.dtype
    return lambda x: x.astype(dtype, copy=False)


def compile_quantize(layer: Layer) -> Evaluator:
    """`clamp(round(x / scale) + zero point)`, rounded to even, the scale per tensor or along an axis."""
    if layer.outputs[0].type not in _RANGES:
        raise layer.unsupported(f"output type {layer.outputs[0].type}")
    dtype, axis, rank = layer.dtype, int(layer.native.axis), len(layer.outputs[0].shape)
    _refuse_blocks(layer)
    smallest, largest = _RANGES[layer.outputs[0].type]
    rounds = layer.outputs[0].type == "INT8"  # fp8 rounds as it is converted

    def quantize(x: Array, scale: Array, zero: Array | None = None) -> Array:
        ratio = x.astype(np.float32) / _along(scale.astype(np.float32), axis, rank)
        shifted = (np.rint(ratio) if rounds else ratio) + _zero_point(zero, axis, rank)
        return np.asarray(shifted.clip(smallest, largest).astype(dtype))

    return quantize


def compile_dequantize(layer: Layer) -> Evaluator:
    """`(x - zero point) · scale`, the scale per tensor or along an axis."""
    if layer.inputs[0] is None or layer.inputs[0].type not in _RANGES:
        raise layer.unsupported(f"input type {layer.inputs[0] and layer.inputs[0].type}")
    _refuse_blocks(layer)
    dtype, axis, rank = layer.dtype, int(layer.native.axis), len(layer.outputs[0].shape)

    def dequantize(x: Array, scale: Array, zero: Array | None = None) -> Array:
        shifted = x.astype(np.float32) - _zero_point(zero, axis, rank)
        return np.asarray((shifted * _along(scale.astype(np.float32), axis, rank)).astype(dtype))

    return dequantize


def _refuse_blocks(layer: Layer) -> None:
    scale = layer.inputs[1]
    if scale is not None and len(scale.shape) > 1:
        raise layer.unsupported("a scale for each block")


def _zero_point(zero: Array | None, axis: int, rank: int) -> Array:
    return np.zeros((), np.float32) if zero is None else _along(zero.astype(np.float32), axis, rank)


def _along(values: Array, axis: int, rank: int) -> Array:
    """A scalar as it is, a vector along an axis; a scale per block fits neither and is refused by its rank."""
    if values.size == 1:
        return values.reshape(())
    if values.ndim != 1:
        raise ValueError(f"a scale of shape {values.shape}, where one number or a vector is known")
    return lane(values, axis, rank)


def compile_fill(layer: Layer) -> Evaluator:
    """`start + Σ index · delta` over the axes, from the layer's own numbers or its inputs; never a random fill."""
    if layer.native.operation.name != "LINSPACE":
        raise layer.unsupported(f"operation {layer.native.operation.name}, which gives other values every time")
    dtype, own_dims = layer.dtype, sizes(layer.native.shape)
    own_start, own_delta = layer.native.alpha, layer.native.beta

    def fill(dims: Array | None = None, start: Array | None = None, delta: Array | None = None) -> Array:
        shape = tuple(own_dims or ()) if dims is None else tuple(dims.tolist())
        deltas = np.reshape(own_delta if delta is None else delta, -1)
        values = np.full(shape, own_start if start is None else start, dtype)
        for axis, step in zip(range(len(shape)), np.broadcast_to(deltas, len(shape)), strict=True):
            values = values + lane(np.arange(shape[axis], dtype=dtype) * step.astype(dtype), axis, len(shape))
        return values

    return fill
