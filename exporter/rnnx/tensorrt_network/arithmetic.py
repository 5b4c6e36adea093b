"""Layers that calculate: element by element, over axes, and in products of matrices.

The operations are named as in https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer/Graph/Layers.html.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rnnx.tensorrt_network.layers import Layer, axes_of, lane
from rnnx_runtime.array_type import Array

Evaluator = Callable[..., Any]
"""A layer's inputs to its output, or to a tuple of its outputs."""


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(np.divide(a, b))
    quotient = a // b  # rounded down, where integers in TensorRT are rounded towards zero
    return np.asarray(quotient + ((a % b != 0) & ((a < 0) != (b < 0))), a.dtype)


ELEMENTWISE: dict[str, Evaluator] = {
    "SUM": np.add,
    "PROD": np.multiply,
    "MAX": np.maximum,
    "MIN": np.minimum,
    "SUB": np.subtract,
    "DIV": _divide,
    "POW": np.power,
    "FLOOR_DIV": np.floor_divide,
    "AND": np.logical_and,
    "OR": np.logical_or,
    "XOR": np.logical_xor,
    "EQUAL": np.equal,
    "GREATER": np.greater,
    "LESS": np.less,
}

_erf = np.vectorize(math.erf, otypes=[np.float64])


def erf(x: Array) -> Array:
    """The error function, calculated in float64, which NumPy alone has none of."""
    return np.asarray(_erf(x), x.dtype)


UNARY: dict[str, Evaluator] = {
    "EXP": np.exp,
    "LOG": np.log,
    "SQRT": np.sqrt,
    "RECIP": np.reciprocal,
    "ABS": np.abs,
    "NEG": np.negative,
    "SIN": np.sin,
    "COS": np.cos,
    "TAN": np.tan,
    "SINH": np.sinh,
    "COSH": np.cosh,
    "ASIN": np.arcsin,
    "ACOS": np.arccos,
    "ATAN": np.arctan,
    "ASINH": np.arcsinh,
    "ACOSH": np.arccosh,
    "ATANH": np.arctanh,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "ERF": erf,
    "NOT": np.logical_not,
    "SIGN": np.sign,
    "ROUND": np.rint,
    "ISINF": np.isinf,
    "ISNAN": np.isnan,
}

_REDUCTIONS: dict[str, Evaluator] = {
    "SUM": np.add.reduce,
    "PROD": np.multiply.reduce,
    "MAX": np.maximum.reduce,
    "MIN": np.minimum.reduce,
}


def compile_elementwise(layer: Layer) -> Evaluator:
    """Two tensors element by element, broadcast against each other."""
    return _operation(layer, ELEMENTWISE)


def compile_unary(layer: Layer) -> Evaluator:
    """One tensor element by element."""
    return _operation(layer, UNARY)


def _operation(layer: Layer, table: dict[str, Evaluator]) -> Evaluator:
    name = layer.native.op.name
    if name not in table:
        raise layer.unsupported(f"operation {name}")
    return table[name]


def compile_reduce(layer: Layer) -> Evaluator:
    """A sum, product, mean or extreme over axes."""
    axes, keep = tuple(axes_of(layer.native.axes)), bool(layer.native.keep_dims)
    if layer.native.op.name == "AVG":
        return lambda x: np.mean(x, axis=axes, keepdims=keep, dtype=x.dtype)
    if layer.native.op.name not in _REDUCTIONS:
        raise layer.unsupported(f"operation {layer.native.op.name}")
    reduce = _REDUCTIONS[layer.native.op.name]
    if layer.native.op.name in ("MAX", "MIN"):
        return lambda x: reduce(x, axis=axes, keepdims=keep)
    return lambda x: reduce(x, axis=axes, keepdims=keep, dtype=x.dtype)  # or NumPy widens small integers


def compile_matrix_multiply(layer: Layer) -> Evaluator:
    """A product of two stacks of matrices or vectors."""
    first, second = layer.native.op0.name, layer.native.op1.name
    if (first, second) == ("NONE", "NONE"):
        return np.matmul
    if (first, second) == ("NONE", "TRANSPOSE"):
        return lambda a, b: np.matmul(a, b.swapaxes(-1, -2))
    left = {"NONE": _itself, "TRANSPOSE": _transposed, "VECTOR": _as_row}[first]
    right = {"NONE": _itself, "TRANSPOSE": _transposed, "VECTOR": _as_column}[second]
    gone = tuple(axis for axis, name in ((-2, first), (-1, second)) if name == "VECTOR")
    return lambda a, b: np.matmul(left(a), right(b)).squeeze(axis=gone)


def _itself(x: Array) -> Array:
    return x


def _transposed(x: Array) -> Array:
    return x.swapaxes(-1, -2)


def _as_row(x: Array) -> Array:
    return x[..., np.newaxis, :]


def _as_column(x: Array) -> Array:
    return x[..., np.newaxis]


def compile_einsum(layer: Layer) -> Evaluator:
    """Einstein's summation by the layer's equation."""
    equation = layer.native.equation
    return lambda *operands: np.einsum(equation, *operands)


def compile_softmax(layer: Layer) -> Evaluator:
    """The softmax over one axis."""
    (axis,) = axes_of(layer.native.axes)

    def softmax(x: Array) -> Array:
        weights = np.exp(x - x.max(axis=axis, keepdims=True))
        return np.asarray(weights / weights.sum(axis=axis, keepdims=True))

    return softmax


def compile_normalization(layer: Layer) -> Evaluator:
    """`(x - mean) / √(variance + epsilon) · scale + bias`, mean and variance over axes."""
    axes, epsilon = tuple(axes_of(layer.native.axes)), float(layer.native.epsilon)
    groups = int(layer.native.num_groups)

    def normalize(x: Array, scale: Array, bias: Array) -> Array:
        parts = x if groups == 1 else x.reshape(x.shape[0], groups, -1)
        over = axes if groups == 1 else (2,)  # a group's channels and places are one axis then
        centred = parts - parts.mean(axis=over, keepdims=True)
        variance = np.square(centred).mean(axis=over, keepdims=True)
        whole = (centred / np.sqrt(variance + epsilon)).reshape(x.shape)
        return np.asarray(whole * _per_channel(scale, x) + _per_channel(bias, x), x.dtype)

    return normalize


def _per_channel(values: Array, x: Array) -> Array:
    """A scale or bias that broadcasts to `x`, or one for each group, of which every channel has its group's."""
    if values.ndim == x.ndim and values.shape[1] not in (1, x.shape[1]):
        return values.repeat(x.shape[1] // values.shape[1], axis=1)
    return values


def compile_cumulative(layer: Layer) -> Evaluator:
    """The running sum along an axis, the axis the second input."""
    exclusive, backwards = bool(layer.native.exclusive), bool(layer.native.reverse)
    if layer.native.op.name != "SUM":
        raise layer.unsupported(f"operation {layer.native.op.name}")

    def accumulate(x: Array, axis: Array) -> Array:
        along = int(axis)
        values = np.flip(x, along) if backwards else x
        total = np.cumsum(values, axis=along, dtype=x.dtype)
        total = total - values if exclusive else total
        return np.flip(total, along) if backwards else total

    return accumulate


def compile_scale(layer: Layer) -> Evaluator:
    """`(x · scale + shift) ^ power`, each one number or a vector along an axis; left out they do nothing."""
    axis, rank, mode = int(layer.native.channel_axis), len(layer.outputs[0].shape), layer.native.mode.name
    scale, shift, power = (np.array(getattr(layer.native, name), layer.dtype) for name in ("scale", "shift", "power"))
    if mode not in ("UNIFORM", "CHANNEL"):
        raise layer.unsupported(f"mode {mode}")

    def evaluate(x: Array) -> Array:
        scaled = x * lane(scale, axis, rank) if scale.size else x
        shifted = scaled + lane(shift, axis, rank) if shift.size else scaled
        return np.power(shifted, lane(power, axis, rank)) if power.size else shifted

    return evaluate


def compile_parametric_relu(layer: Layer) -> Evaluator:
    """`x` where it is not negative, and `slope · x` where it is."""
    return lambda x, slope: np.where(x < 0, x * slope, x)
