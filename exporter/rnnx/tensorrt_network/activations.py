"""Activation layers, with the parameters alpha and beta that the importer gave them, right or wrong.

Formulas as `tensorrt.ActivationType` states them:
https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer/Graph/Layers.html.
"""

import math
from collections.abc import Callable

import numpy as np

from rnnx.tensorrt_network.arithmetic import Evaluator, erf
from rnnx.tensorrt_network.layers import Layer
from rnnx_runtime.array_type import Array

Activation = Callable[[Array, float, float], Array]


def sigmoid(x: Array) -> Array:
    """The logistic function by way of tanh, which neither overflows nor loses small values."""
    result: Array = np.tanh(x * 0.5)
    return (result + 1) * 0.5


def _elu(x: Array, alpha: float, beta: float) -> Array:
    return np.where(x >= 0, x, alpha * np.expm1(x))


def _selu(x: Array, alpha: float, beta: float) -> Array:
    return beta * np.where(x > 0, x, alpha * np.expm1(x))


def _softplus(x: Array, alpha: float, beta: float) -> Array:
    return np.asarray(alpha * np.logaddexp(0, beta * x), x.dtype)


def _gelu_tanh(x: Array, alpha: float, beta: float) -> Array:
    result: Array = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (0.044715 * x**3 + x)))
    return result


ACTIVATIONS: dict[str, Activation] = {
    "RELU": lambda x, alpha, beta: np.maximum(x, 0),
    "SIGMOID": lambda x, alpha, beta: sigmoid(x),
    "TANH": lambda x, alpha, beta: np.tanh(x),
    "LEAKY_RELU": lambda x, alpha, beta: np.where(x >= 0, x, alpha * x),
    "ELU": _elu,
    "SELU": _selu,
    "SOFTSIGN": lambda x, alpha, beta: x / (1 + np.abs(x)),
    "SOFTPLUS": _softplus,
    "CLIP": lambda x, alpha, beta: np.maximum(alpha, np.minimum(beta, x)),
    "HARD_SIGMOID": lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
    "SCALED_TANH": lambda x, alpha, beta: alpha * np.tanh(beta * x),
    "THRESHOLDED_RELU": lambda x, alpha, beta: np.where(x > alpha, x, 0),
    "GELU_ERF": lambda x, alpha, beta: 0.5 * x * (1 + erf(math.sqrt(0.5) * x)),
    "GELU_TANH": _gelu_tanh,
}
"""Every `ActivationType`, as a function of x, alpha and beta."""

_DIRECT: dict[str, Evaluator] = {"SIGMOID": sigmoid, "TANH": np.tanh}
"""What a recurrence calls in every step, without a call in between."""


def compile_activation(layer: Layer) -> Evaluator:
    """An activation with its own alpha and beta."""
    name = layer.native.type.name
    if name in _DIRECT:
        return _DIRECT[name]
    if name not in ACTIVATIONS:
        raise layer.unsupported(f"activation {name}")
    function, alpha, beta = ACTIVATIONS[name], float(layer.native.alpha), float(layer.native.beta)
    return lambda x: function(x, alpha, beta)
