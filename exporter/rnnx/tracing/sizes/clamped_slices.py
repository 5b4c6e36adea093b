"""`x[:, :50]` and `x[:, -10:]` of a free axis that is shorter in the example: cut at every size, as Python cuts.

PyTorch compares the axis with the number, finds that nothing is cut, and the trace has the whole axis at all sizes.
"""

from typing import Any

import torch
from torch import SymInt, Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.overrides import TorchFunctionMode

_MIN: Any = torch.sym_min
_MAX: Any = torch.sym_max


class ClampedSlices(TorchFunctionMode):
    """Inside the block, the ends of slices follow free sizes."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.__getitem__:
            args = (args[0], _clamped(*args))
        return func(*args, **(kwargs or {}))


def _clamped(values: Tensor, index: Any) -> Any:
    places = index if isinstance(index, tuple) else (index,)
    if not any(isinstance(own, slice) for own in places):
        return index
    axes = _axes(values.dim(), places)
    sizes: tuple[Any, ...] = tuple(values.shape)
    clamped = tuple(own if axis is None else _slice(own, sizes[axis]) for own, axis in zip(places, axes, strict=True))
    return clamped if isinstance(index, tuple) else clamped[0]


def _axes(rank: int, places: tuple[Any, ...]) -> list[int | None]:
    """The axis of each slice; None of anything else."""
    axes: list[int | None] = []
    taken = sum(_taken(own) for own in places if own is not Ellipsis)
    axis = 0
    for own in places:
        axes.append(axis if isinstance(own, slice) else None)
        axis += rank - taken if own is Ellipsis else _taken(own)
    return axes


def _taken(own: Any) -> int:
    """How many axes a place of an index stands for."""
    if own is None or isinstance(own, bool):
        return 0
    return own.dim() if isinstance(own, Tensor) and own.dtype == torch.bool else 1


def _slice(own: slice, size: Any) -> slice:
    start, stop = own.start, own.stop
    if isinstance(size, SymInt) and isinstance(stop, int) and stop > 0 and _is_longer(stop, size):
        stop = _MIN(stop, size)
    if isinstance(size, SymInt) and isinstance(start, int) and start < 0 and _is_longer(-start, size):
        start = _MAX(size + start, 0)
    return slice(start, stop, own.step)


def _is_longer(cut: int, size: SymInt) -> bool:
    """Whether an axis is shorter than its cut in the example, and may be longer."""
    hint = size.node.hint
    return hint is not None and hint < cut and not statically_known_true(size <= cut)
