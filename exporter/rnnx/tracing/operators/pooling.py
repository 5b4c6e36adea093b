"""Pooling over a free axis: PyTorch's own operators fix its size in a trace, or torch.onnx does when it writes them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import SymInt, Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@contextmanager
def traced_pooling() -> Iterator[None]:
    """Let pooling over a free axis be operators that leave it free, inside the block."""
    built_in = torch._C._nn
    patched = (
        ((torch,), "max_pool1d", _max_pool1d),
        ((torch, functional), "avg_pool1d", _avg_pool1d),
        ((torch, functional), "adaptive_avg_pool1d", _adaptive_avg(1)),
        ((built_in,), "adaptive_avg_pool2d", _adaptive_avg(2)),
        ((torch,), "adaptive_max_pool1d", _adaptive_max),
    )
    with ExitStack() as stack:
        for places, name, make in patched:
            replacement = make(getattr(places[0], name))
            for place in places:
                stack.enter_context(mock.patch.object(place, name, replacement))
        yield


class PoolingOperators(TorchFunctionMode):
    """Reads the operators of pooling as the functions of `traced_pooling`.

    A rolled model calls operators: those of its traces, in which its time was a number.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        place, name = _OPERATORS.get(func, (None, ""))
        return (func if place is None else getattr(place, name))(*args, **(kwargs or {}))


_OPERATORS: dict[Any, tuple[Any, str]] = {
    torch.ops.aten.max_pool1d.default: (torch, "max_pool1d"),
    torch.ops.aten.avg_pool1d.default: (functional, "avg_pool1d"),
    torch.ops.aten.adaptive_avg_pool1d.default: (functional, "adaptive_avg_pool1d"),
    torch.ops.aten.adaptive_avg_pool2d.default: (torch._C._nn, "adaptive_avg_pool2d"),
    torch.ops.aten.adaptive_max_pool1d.default: (torch, "adaptive_max_pool1d"),
}


def _max_pool1d(original: Any) -> Any:
    def pool(
        x: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Any:
        if not _is_free(x.shape[-1]):
            return original(x, kernel_size, stride or (), padding, dilation, ceil_mode)
        size, steps = _single(kernel_size), _single(stride) if stride else _single(kernel_size)
        if _is_whole(x, size, padding):
            return x.amax(-1, keepdim=True)
        rows = x.unsqueeze(-2)
        shape = ((1, size), (1, steps), (0, _single(padding)), (1, _single(dilation)))
        return functional.max_pool2d(rows, *shape, ceil_mode).squeeze(-2)

    return pool


def _avg_pool1d(original: Any) -> Any:
    def pool(x: Tensor, kernel_size: Any, *args: Any, **kwargs: Any) -> Any:
        if not args and not kwargs.get("padding") and _is_whole(x, _single(kernel_size), 0):
            return x.mean(-1, keepdim=True)
        return original(x, kernel_size, *args, **kwargs)

    return pool


def _is_whole(x: Tensor, size: Any, padding: Any) -> bool:
    """Whether a window is as long as its axis, which no constant of a graph can be."""
    return isinstance(size, SymInt) and _single(padding) == 0 and statically_known_true(size == x.shape[-1])


def _adaptive_avg(axes: int) -> Callable[[Any], Any]:
    return lambda original: (
        lambda x, output_size: _averaged(x, _sizes(output_size, axes), lambda: original(x, output_size))
    )


def _adaptive_max(original: Any) -> Any:
    def pool(x: Tensor, output_size: Any) -> Any:
        (size,) = _sizes(output_size, 1)
        if not _is_free(x.shape[-1]) or not isinstance(size, int):
            return original(x, output_size)
        inside, _ = _windows(x, size)
        lowest = torch.full((), float("-inf"), dtype=x.dtype)
        windows = torch.where(inside, x.unsqueeze(-2), lowest)
        return windows.amax(-1), windows.argmax(-1)

    return pool


def _averaged(x: Tensor, sizes: Sequence[Any], original: Callable[[], Any]) -> Any:
    """Each of the last axes brought to its size; PyTorch's own where all are fixed, or a size itself is free."""
    axes = range(-len(sizes), 0)
    wanted = [(axis, size) for axis, size in zip(axes, sizes, strict=True) if not _is_kept(x, axis, size)]
    free = [axis for axis, _ in wanted if _is_free(x.shape[axis])]
    if (wanted and not free) or any(isinstance(size, SymInt) for _, size in wanted):
        return original()
    for axis, size in wanted:
        x = _averages(x.transpose(axis, -1), size).transpose(axis, -1)
    return x


def _is_kept(x: Tensor, axis: int, size: Any) -> bool:
    return size is None or (_is_free(size) and statically_known_true(size == x.shape[axis]))


def _is_free(size: Any) -> bool:
    return isinstance(size, SymInt)


def _averages(x: Tensor, count: int) -> Tensor:
    if count == 1:
        return x.mean(-1, keepdim=True)
    inside, lengths = _windows(x, count)
    return x @ (inside.to(x.dtype) / lengths.to(x.dtype)).transpose(0, 1)


def _windows(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Which steps lie in which window, `(count, T)`, and how many do, `(count, 1)`.

    Window i goes from floor(i·T / count) to ceil((i + 1)·T / count), as PyTorch's `AdaptiveAvgPool1d` has it.
    """
    length = x.shape[-1]
    place = torch.arange(count).unsqueeze(1)
    start = torch.div(place * length, count, rounding_mode="floor")
    end = torch.div((place + 1) * length + count - 1, count, rounding_mode="floor")
    step = torch.arange(length).unsqueeze(0)
    return (step >= start) & (step < end), end - start


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, Sequence) else value


def _sizes(output_size: Any, axes: int) -> list[Any]:
    return list(output_size) if isinstance(output_size, Sequence) else [output_size] * axes
