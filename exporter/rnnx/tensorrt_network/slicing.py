"""The slice layer: a start, a size and a stride for each axis, and a mode for the places outside the tensor.

https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer/Graph/Layers.html#islicelayer
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rnnx.tensorrt_network.arithmetic import Evaluator
from rnnx.tensorrt_network.layers import Layer, lane, sizes
from rnnx_runtime.array_type import Array

Selection = Callable[[Array, Array | None], Array]
"""From a tensor, and the value that fills the places outside it, to the slice."""

_INPUTS = {"start": 1, "shape": 2, "stride": 3, "axes": 5}
"""The layer's own numbers, and which input stands in for each."""

_INNER_PLACES: dict[str, Callable[[Array, int], Array]] = {
    "STRICT_BOUNDS": lambda places, length: places,
    "WRAP": lambda places, length: places % length,
    "CLAMP": lambda places, length: places.clip(0, length - 1),
    "FILL": lambda places, length: places.clip(0, length - 1),
    "REFLECT": lambda places, length: _reflected(places, length),
}
"""For each mode, the place inside an axis that stands for one outside it."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """What a slice takes of one axis of a length."""

    start: int
    size: int
    stride: int
    length: int

    @property
    def places(self) -> Array:
        """The places that it takes, some perhaps outside."""
        return self.start + self.stride * np.arange(self.size)

    @property
    def is_inside(self) -> bool:
        """Whether all of them are inside the axis."""
        last = self.start + (self.size - 1) * self.stride
        return not self.size or (0 <= self.start < self.length and 0 <= last < self.length)

    @property
    def as_slice(self) -> slice:
        """The same as Python writes it, for a stride that is not 0 and places inside."""
        stop = self.start + self.size * self.stride
        return slice(self.start, stop if stop >= 0 else None, self.stride) if self.size else slice(0, 0)


def compile_slice(layer: Layer) -> Evaluator:
    """A slice whose start, size, stride and axes are the layer's own or, where it has them, its inputs."""
    own, mode = [_own(layer, place, name) for name, place in _INPUTS.items()], layer.native.mode.name
    if mode not in _INNER_PLACES:
        raise layer.unsupported(f"mode {mode}")
    known: tuple[object, ...] = (None,) * 5
    selection: Selection | None = None

    def take(
        x: Array,
        start: Array | None = None,
        size: Array | None = None,
        stride: Array | None = None,
        fill: Array | None = None,
        axes: Array | None = None,
    ) -> Array:
        nonlocal known, selection
        # In a loop these are the same objects at every step, and nothing writes into an array once it is made.
        same = known[0] is start and known[1] is size and known[2] is stride and known[3] is axes
        if selection is None or not same or known[4] != x.shape:
            given = [_chosen(value, mine) for value, mine in zip((start, size, stride, axes), own, strict=True)]
            selection = _selection(_spans(x.shape, *given), mode)
            known = (start, size, stride, axes, x.shape)
        return selection(x, fill)

    return take


def _own(layer: Layer, place: int, name: str) -> tuple[int, ...] | None:
    given = place < len(layer.inputs) and layer.inputs[place] is not None
    # TensorRT warns when it is asked for what an input gives, and its first versions have no axes.
    return None if given else sizes(getattr(layer.native, name, None))


def _chosen(value: Array | None, own: tuple[int, ...] | None) -> Sequence[int] | None:
    return own if value is None else [int(number) for number in value]


def _spans(
    shape: tuple[int, ...],
    start: Sequence[int] | None,
    size: Sequence[int] | None,
    stride: Sequence[int] | None,
    axes: Sequence[int] | None,
) -> list[Span]:
    """What the slice takes of every axis; all of those that it does not name."""
    if start is None or size is None or stride is None or min(size, default=0) < 0:
        raise ValueError(f"a slice from {start} of size {size} by {stride}")
    spans = [Span(start=0, size=length, stride=1, length=length) for length in shape]
    for axis, *span in zip(range(len(shape)) if axes is None else axes, start, size, stride, strict=True):
        spans[axis] = Span(start=span[0], size=span[1], stride=span[2], length=shape[axis])
    return spans


def _selection(spans: list[Span], mode: str) -> Selection:
    inside = all(span.is_inside for span in spans)
    if inside and all(span.stride for span in spans):
        key = tuple(span.as_slice for span in spans)
        return lambda x, fill: x[key]
    if not inside and mode == "STRICT_BOUNDS":
        raise ValueError(f"a slice that leaves the tensor: {next(span for span in spans if not span.is_inside)}")
    grid = np.ix_(*(_INNER_PLACES[mode](span.places, span.length) for span in spans))
    if inside or mode != "FILL":
        return lambda x, fill: x[grid]
    outside = np.zeros((), np.bool_)
    for axis, span in enumerate(spans):
        outside = outside | lane((span.places < 0) | (span.places >= span.length), axis, len(spans))
    return lambda x, fill: np.where(outside, np.zeros((), x.dtype) if fill is None else fill, x[grid])


def _reflected(places: Array, length: int) -> Array:
    period = max(2 * (length - 1), 1)
    folded = places % period
    return np.asarray(np.minimum(folded, period - folded) if length > 1 else folded)
