"""The slice layer: start, size and stride for each axis, and what a place outside the tensor means.

https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer/Graph/Layers.html#islicelayer
"""

from collections.abc import Callable, Sequence

import numpy as np

from rnnx.tensorrt_network.arithmetic import Evaluator
from rnnx.tensorrt_network.layers import Array, Layer, sizes

Selection = Callable[[Array, Array | None], Array]
"""From a tensor, and the value for places outside it, to the slice."""

_OUTSIDE: dict[str, Callable[[Array, int], Array]] = {
    "WRAP": lambda places, size: places % size,
    "CLAMP": lambda places, size: places.clip(0, size - 1),
    "FILL": lambda places, size: places.clip(0, size - 1),
    "REFLECT": lambda places, size: _reflected(places, size),
}
"""For each mode, the place inside a tensor that stands for one outside it."""


def compile_slice(layer: Layer) -> Evaluator:
    """A slice whose start, size, stride and axes are the layer's own or, where it has them, its inputs."""
    own = [sizes(getattr(layer.native, name)) for name in ("start", "shape", "stride", "axes")]
    mode = layer.native.mode.name
    if mode not in ("STRICT_BOUNDS", *_OUTSIDE):
        raise layer.unsupported(f"mode {mode}")
    known: tuple[object, ...] = ()
    selection: Selection = _never

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
        if (
            not (known and known[0] is start and known[1] is size and known[2] is stride and known[3] is axes)
            or known[4] != x.shape
        ):
            given = [_chosen(value, mine) for value, mine in zip((start, size, stride, axes), own, strict=True)]
            selection = _selection(x.shape, _spans(len(x.shape), *given), mode)
            known = (start, size, stride, axes, x.shape)
        return selection(x, fill)

    return take


def _never(x: Array, fill: Array | None) -> Array:
    raise ValueError("a slice before its selection was made")


def _chosen(value: Array | None, own: tuple[int, ...] | None) -> Sequence[int] | None:
    return own if value is None else [int(number) for number in value]


def _spans(
    rank: int,
    start: Sequence[int] | None,
    size: Sequence[int] | None,
    stride: Sequence[int] | None,
    axes: Sequence[int] | None,
) -> dict[int, tuple[int, int, int]]:
    """For each sliced axis its start, size and stride."""
    if start is None or size is None or stride is None:
        raise ValueError("a slice without a start, a size or a stride")
    places = range(rank) if axes is None else [axis % rank for axis in axes]
    return {axis: span for axis, *span in zip(places, start, size, stride, strict=True)}  # type: ignore[misc]


def _selection(shape: tuple[int, ...], spans: dict[int, tuple[int, int, int]], mode: str) -> Selection:
    inside = all(_is_inside(span, shape[axis]) for axis, span in spans.items())
    if inside and all(stride for _, _, stride in spans.values()):
        key = tuple(_python_slice(spans[axis]) if axis in spans else slice(None) for axis in range(len(shape)))
        return lambda x, fill: x[key]
    if not inside and mode == "STRICT_BOUNDS":
        raise ValueError(f"a slice of (start, size, stride) {spans} by axis leaves the tensor of shape {shape}")
    places = {axis: start + stride * np.arange(size) for axis, (start, size, stride) in spans.items()}
    grid = np.ix_(
        *(
            _inner(places[axis], shape[axis], mode) if axis in places else np.arange(shape[axis])
            for axis in range(len(shape))
        )
    )
    if inside or mode != "FILL":
        return lambda x, fill: x[grid]
    outside = np.zeros((), np.bool_)
    for axis, along in places.items():
        lane = (along < 0) | (along >= shape[axis])
        outside = outside | lane.reshape([-1 if axis == other else 1 for other in range(len(shape))])
    return lambda x, fill: np.where(outside, np.zeros((), x.dtype) if fill is None else fill, x[grid])


def _is_inside(span: tuple[int, int, int], length: int) -> bool:
    start, size, stride = span
    last = start + (size - 1) * stride
    if size < 0:
        raise ValueError(f"a slice of size {size}")
    return size == 0 or (0 <= start < length and 0 <= last < length)


def _python_slice(span: tuple[int, int, int]) -> slice:
    start, size, stride = span
    if size == 0:
        return slice(0, 0)
    stop = start + size * stride
    return slice(start, stop if stop >= 0 else None, stride)


def _inner(places: Array, length: int, mode: str) -> Array:
    return places if mode == "STRICT_BOUNDS" or not length else _OUTSIDE[mode](places, length)


def _reflected(places: Array, length: int) -> Array:
    if length == 1:
        return np.zeros_like(places)
    period = 2 * (length - 1)
    folded = places % period
    return np.asarray(np.minimum(folded, period - folded))
