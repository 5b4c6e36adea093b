"""Rounding to narrower formats, in the values of float64: what a backend of lower precision does to its operands.

TF32: https://docs.nvidia.com/cuda/parallel-thread-execution/#alternate-floating-point-data-formats; int8 as ONNX's
DynamicQuantizeLinear, https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rnnx_runtime.array_type import Array

Format = Literal["tf32", "tf32-truncated", "float16", "bfloat16", "int8", "int8 of 7 bits"]
Grid = Literal[
    "1 decimal", "2 decimals", "3 decimals", "4 decimals", "int8 by row", "int8 by gate", "int4", "int4 by row"
]
"""What weights are rounded to that are then computed with in float32."""

Operand = Literal["weights", "inputs", "states", "gates", "cell", "carried"]


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """A format and what is rounded to it, a grid for weights alone; 7 bits are what reduce_range leaves to weights.

    `weights`, `inputs` (a layer's x) and `states` (h) are the factors of products; `gates` are sums and gates, `cell`
    is c (a GRU's h) after a step and `carried` before it. `pairs_saturate`: sums of two int8 products stay within 16
    bits.
    """

    format: Format | Grid
    operands: frozenset[Operand]
    pairs_saturate: bool = False

    def of(self, operand: Operand, value: Array) -> Array:
        """The value, rounded where this operand is."""
        return ROUNDINGS[self.format](value) if operand in self.operands and self.format in ROUNDINGS else value

    def of_weight(self, weight: Array) -> Array:
        """A weight, rounded where weights are; int8 weights have no zero point."""
        if "weights" not in self.operands:
            return weight
        if self.format in GRIDS:
            return GRIDS[self.format](weight)
        steps = {"int8": 127, "int8 of 7 bits": 64}.get(self.format)
        return _symmetric(weight, steps) if steps else ROUNDINGS[self.format](weight)


def _bits_kept(bits: int, *, truncated: bool = False) -> Callable[[Array], Array]:
    """Rounding of float32 to a significand of `bits` bits, to even or towards zero."""
    dropped = np.uint32(24 - bits)

    def rounded(value: Array) -> Array:
        words = np.ascontiguousarray(value, np.float32).view(np.uint32)
        half = np.uint32(0) if truncated else (np.uint32(1) << (dropped - np.uint32(1))) - np.uint32(1)
        odd = np.uint32(0) if truncated else (words >> dropped) & np.uint32(1)
        kept = ((words + half + odd) >> dropped) << dropped
        result: Array = kept.view(np.float32).astype(np.float64)
        return result

    return rounded


def _float16(value: Array) -> Array:
    with np.errstate(over="ignore"):
        result: Array = value.astype(np.float16).astype(np.float64)
    return result


def _dynamic_int8(value: Array) -> Array:
    """To 255 steps of the array's own range, zero among them."""
    low, high = min(0.0, float(value.min())), max(0.0, float(value.max()))
    if high == low:
        return value
    step = (high - low) / 255
    zero = np.clip(np.rint(-low / step), 0, 255)
    result: Array = (np.clip(np.rint(value / step) + zero, 0, 255) - zero) * step
    return result


def _symmetric(weight: Array, steps: int, axes: tuple[int, ...] | None = None) -> Array:
    """To `steps` on either side of zero, of the largest value over `axes`; of all where none are given."""
    step = np.abs(weight).max(axis=axes, keepdims=True) / steps
    result: Array = np.rint(weight / np.where(step > 0, step, 1)) * step
    return result


def saturated_product(x: Array, weight: Array) -> Array:
    """`x (N, K)` times a weight `(R, K)` transposed, as unsigned times signed 8 bits whose pairs saturate at 16 bits.

    That is vpmaddubsw, which ONNX Runtime's kernels use on x86 without VNNI:
    https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "When and why do I need to try U8U8".
    """
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    x_step, step = (high - low) / 255 or 1.0, float(np.abs(weight).max()) / 127 or 1.0
    zero = np.clip(np.rint(-low / x_step), 0, 255)
    left, right = np.clip(np.rint(x / x_step) + zero, 0, 255), np.rint(weight / step)
    odd = ((0, 0), (0, x.shape[1] % 2))
    pairs = [np.pad(value, odd).reshape(len(value), -1, 2) for value in (left, right)]
    sums = np.zeros((len(x), len(weight)))
    for pair in range(pairs[0].shape[1]):
        sums += np.clip(pairs[0][:, pair] @ pairs[1][:, pair].T, -(2**15), 2**15 - 1)
    result: Array = (sums - zero * right.sum(axis=1)) * (x_step * step)
    return result


ROUNDINGS: Mapping[str, Callable[[Array], Array]] = {
    "tf32": _bits_kept(11),
    "tf32-truncated": _bits_kept(11, truncated=True),
    "float16": _float16,
    "bfloat16": _bits_kept(8),
    "int8": _dynamic_int8,
    "int8 of 7 bits": _dynamic_int8,
}

GRIDS: Mapping[str, Callable[[Array], Array]] = {
    "1 decimal": lambda weight: weight.round(1),
    "2 decimals": lambda weight: weight.round(2),
    "3 decimals": lambda weight: weight.round(3),
    "4 decimals": lambda weight: weight.round(4),
    "int8 by row": lambda weight: _symmetric(weight, 127, (-1,)),
    "int8 by gate": lambda weight: _symmetric(weight, 127, (-2, -1)),
    "int4": lambda weight: _symmetric(weight, 7),
    "int4 by row": lambda weight: _symmetric(weight, 7, (-1,)),
}
"""What becomes of a weight `(G, H, K)` on each grid."""
