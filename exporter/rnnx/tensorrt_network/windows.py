"""Layers that go over a tensor in windows: convolutions, their transposes, and pooling, over any number of axes.

https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer/Graph/Layers.html#iconvolutionlayer
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from rnnx.tensorrt_network.arithmetic import Evaluator
from rnnx.tensorrt_network.layers import Layer, sizes
from rnnx_runtime.array_type import Array

_SPATIAL = 2
"""The first axis that a window moves along, after batch and channels."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window's size and moves along each axis, and the places around the tensor that it reaches."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    mode: str

    @property
    def is_same(self) -> bool:
        """Whether the padding follows from the sizes, so that every place has a window."""
        return self.mode in ("SAME_UPPER", "SAME_LOWER")

    @property
    def extent(self) -> tuple[int, ...]:
        """From the first place that it reads to the last."""
        return tuple(gap * (size - 1) + 1 for size, gap in zip(self.size, self.dilation, strict=True))

    def padding(self, shape: Sequence[int]) -> list[tuple[int, int]]:
        """Places to add before and after each axis of the spatial `shape`.

        Raises:
            ValueError: the window does not fit.
        """
        found = []
        for axis, length in enumerate(shape):
            extent, stride = self.extent[axis], self.stride[axis]
            before, after = self.before[axis], self.after[axis]
            if self.is_same:
                total = max(0, (math.ceil(length / stride) - 1) * stride + extent - length)
                less, more = total // 2, total - total // 2
                before, after = (less, more) if self.mode == "SAME_UPPER" else (more, less)
            room = before + length + after - extent
            if room < 0:
                raise ValueError(f"a window of {extent} over an axis of {length}, padded by {before} and {after}")
            if self.mode == "EXPLICIT_ROUND_UP":
                after += -room % stride
            found.append((before, after))
        return found

    def views(self, x: Array) -> Array:
        """Every place of the window over a padded tensor: `(B, C, *places, *size)`."""
        axes = tuple(range(_SPATIAL, x.ndim))
        found: Array = sliding_window_view(x, self.extent, axes)
        moves = tuple(slice(None, None, stride) for stride in self.stride)
        gaps = tuple(slice(None, None, gap) for gap in self.dilation)
        result: Array = found[(slice(None), slice(None), *moves, *gaps)]
        return result


def compile_convolution(layer: Layer) -> Evaluator:
    """A sum of products with a kernel at every place; kernel and bias are the layer's own or its inputs."""
    window, groups, own = _window(layer, "kernel_size_nd"), int(layer.native.num_groups), _weights(layer)

    def convolve(x: Array, kernel: Array | None = None, bias: Array | None = None) -> Array:
        weights, offset = own if kernel is None else (kernel, bias if bias is not None else own[1])
        weights = weights.reshape(-1, x.shape[1] // groups, *window.size)
        views = window.views(_padded(x, window.padding(x.shape[_SPATIAL:]), 0))
        inner = [1, *range(views.ndim - len(window.size), views.ndim)]
        parts = [
            np.tensordot(part, filters, (inner, list(range(1, filters.ndim))))
            for part, filters in zip(np.split(views, groups, 1), np.split(weights, groups), strict=True)
        ]
        return _with_bias(np.moveaxis(np.concatenate(parts, -1), -1, 1), offset)

    return convolve


def compile_deconvolution(layer: Layer) -> Evaluator:
    """The transpose of a convolution: every value spreads a kernel over the result."""
    window, groups, own = _window(layer, "kernel_size_nd"), int(layer.native.num_groups), _weights(layer)

    def spread(x: Array, kernel: Array | None = None, bias: Array | None = None) -> Array:
        weights, offset = own if kernel is None else (kernel, bias if bias is not None else own[1])
        weights = weights.reshape(x.shape[1], -1, *window.size)
        spatial = x.shape[_SPATIAL:]
        full = [
            (length - 1) * stride + extent
            for length, stride, extent in zip(spatial, window.stride, window.extent, strict=True)
        ]
        result = np.zeros((x.shape[0], weights.shape[1] * groups, *full), x.dtype)
        for place in product(*map(range, window.size)):
            target = tuple(
                slice(gap * at, gap * at + (length - 1) * stride + 1, stride)
                for at, gap, length, stride in zip(place, window.dilation, spatial, window.stride, strict=True)
            )
            filters = weights.reshape(*weights.shape[:2], -1)[..., np.ravel_multi_index(place, window.size)]
            parts = [
                np.moveaxis(np.tensordot(part, own_filters, ([1], [0])), -1, 1)
                for part, own_filters in zip(np.split(x, groups, 1), np.split(filters, groups), strict=True)
            ]
            result[(slice(None), slice(None), *target)] += np.concatenate(parts, 1)
        cut = tuple(
            slice(before, length - after)
            for before, after, length in zip(window.before, window.after, full, strict=True)
        )
        return _with_bias(result[(slice(None), slice(None), *cut)], offset)

    if window.mode not in ("EXPLICIT_ROUND_DOWN", "EXPLICIT_ROUND_UP"):
        raise layer.unsupported(f"padding mode {window.mode}")
    return spread


def compile_pooling(layer: Layer) -> Evaluator:
    """The largest or the mean value of every window."""
    window, kind = _window(layer, "window_size_nd"), layer.native.type.name
    excludes = bool(layer.native.average_count_excludes_padding)

    def largest(x: Array) -> Array:
        views = window.views(_padded(x, window.padding(x.shape[_SPATIAL:]), -np.inf))
        return np.asarray(views.max(axis=_inner_axes(views, window)))

    def mean(x: Array) -> Array:
        padding = window.padding(x.shape[_SPATIAL:])
        views = window.views(_padded(x, padding, 0))
        axes = _inner_axes(views, window)
        counted = np.ones((1, 1, *x.shape[_SPATIAL:]), x.dtype)
        if not excludes:  # all padding counts, but for what rounding up added to it
            explicit = padding if window.is_same else list(zip(window.before, window.after, strict=True))
            counted = _padded(counted, explicit, 1)
            padding = [(0, both[1] - own[1]) for both, own in zip(padding, explicit, strict=True)]
        counts = window.views(_padded(counted, padding, 0)).sum(axis=axes)
        return np.asarray(views.sum(axis=axes) / counts, x.dtype)

    if kind not in ("MAX", "AVERAGE"):
        raise layer.unsupported(f"pooling {kind}")
    return largest if kind == "MAX" else mean


def _window(layer: Layer, size_name: str) -> Window:
    native: Any = layer.native
    size = sizes(getattr(native, size_name)) or ()
    return Window(
        size=size,
        stride=sizes(native.stride_nd) or (),
        dilation=sizes(getattr(native, "dilation_nd", None)) or (1,) * len(size),
        before=sizes(native.pre_padding) or (),
        after=sizes(native.post_padding) or (),
        mode=native.padding_mode.name,
    )


def _weights(layer: Layer) -> tuple[Array, Array | None]:
    """The layer's own kernel and bias, copied out of the network's memory; the latter None where it has none."""
    kernel, bias = (np.array(getattr(layer.native, name), layer.dtype) for name in ("kernel", "bias"))
    return kernel, bias if bias.size else None


def _padded(x: Array, padding: Sequence[tuple[int, int]], value: float) -> Array:
    if not any(map(any, padding)):
        return x
    return np.pad(x, [(0, 0), (0, 0), *padding], constant_values=value)


def _inner_axes(views: Array, window: Window) -> tuple[int, ...]:
    return tuple(range(views.ndim - len(window.size), views.ndim))


def _with_bias(x: Array, bias: Array | None) -> Array:
    return x if bias is None else x + bias.reshape(-1, *[1] * (x.ndim - _SPATIAL))
