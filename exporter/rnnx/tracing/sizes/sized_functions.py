"""Functions whose sizes PyTorch reads as numbers, such as `linspace(0, 1, T)`, written so that they stay free.

Each gives what PyTorch's own gives, which still runs where no size is free.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import SymFloat, SymInt, Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.utils import _pytree as pytree

from rnnx.tracing.operators.forms import istft


@contextmanager
def sized_functions() -> Iterator[None]:
    """Let these functions take free sizes inside the block."""
    made: dict[str, tuple[tuple[Any, ...], Callable[..., Any]]] = {
        "linspace": ((torch,), _linspace),
        "logspace": ((torch,), _logspace),
        "tensor_split": ((torch, Tensor), _tensor_split),
        "take_along_dim": ((torch, Tensor), _take_along_dim),
        "kron": ((torch, Tensor), _kron),
        "hann_window": ((torch,), _hann_window),
        "hamming_window": ((torch,), _hamming_window),
        "blackman_window": ((torch,), _blackman_window),
        "bartlett_window": ((torch,), _bartlett_window),
        "istft": ((torch, Tensor), istft),
        "new_tensor": ((Tensor,), _new_tensor),
    }
    with ExitStack() as stack:
        for name, (places, written) in made.items():
            is_needed = _NEEDS.get(name, _takes_free)
            for place in places:
                changed = _where(is_needed, getattr(place, name), written)
                stack.enter_context(mock.patch.object(place, name, changed))
        yield


def _where(
    is_needed: Callable[..., bool], original: Callable[..., Any], written: Callable[..., Any]
) -> Callable[..., Any]:
    """A function that is `written` for arguments that need it, and `original` for others."""

    @functools.wraps(original, updated=())
    def function(*args: Any, **kwargs: Any) -> Any:
        return (written if is_needed(*args, **kwargs) else original)(*args, **kwargs)

    return function


def _takes_free(*args: Any, **kwargs: Any) -> bool:
    return any(map(_is_free, (*args, *kwargs.values())))


def _has_free_length(*args: Any, onesided: bool | None = None, length: Any = None, **kwargs: Any) -> bool:
    """Whether a signal is cut at a free size: `istft` leaves all others free by itself."""
    is_real = (args[7:8] or (onesided,))[0] is not False and not kwargs.get("return_complex") and len(args) < 10
    return is_real and isinstance((args[8:9] or (length,))[0], SymInt)


def _is_free(value: Any) -> bool:
    sizes = value.shape if isinstance(value, Tensor) else value if isinstance(value, tuple | list) else (value,)
    return any(isinstance(own, SymInt) for own in sizes)


def _holds_free(_: Tensor, data: Any, **__: Any) -> bool:
    return any(isinstance(own, SymInt | SymFloat) for own in pytree.tree_leaves(data))


_NEEDS: dict[str, Callable[..., bool]] = {"istft": _has_free_length, "new_tensor": _holds_free}
"""When functions are written otherwise that take tensors of free sizes by themselves."""


def _linspace(start: Any, end: Any, steps: Any, **options: Any) -> Tensor:
    """As PyTorch has it: from the start in the first half, from the end in the second, and the start alone of one."""
    place = torch.arange(steps, **_floats(options))
    step = (end - start) / (_count(steps, options) - 1).clamp(min=1)
    found: Tensor = torch.where(place < (steps + 1) // 2, start + step * place, end - step * (steps - 1 - place))
    return found.to(options.get("dtype") or found.dtype)


def _logspace(start: Any, end: Any, steps: Any, base: float = 10.0, **options: Any) -> Tensor:
    found: Tensor = base ** _linspace(start, end, steps, **options)
    return found


def _hann_window(size: Any, periodic: bool = True, **options: Any) -> Tensor:
    return _window(size, periodic, options, lambda turns: 0.5 - 0.5 * turns.cos())


def _hamming_window(
    size: Any, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **options: Any
) -> Tensor:
    return _window(size, periodic, options, lambda turns: alpha - beta * turns.cos())


def _blackman_window(size: Any, periodic: bool = True, **options: Any) -> Tensor:
    return _window(size, periodic, options, lambda turns: 0.42 - 0.5 * turns.cos() + 0.08 * (2 * turns).cos())


def _bartlett_window(size: Any, periodic: bool = True, **options: Any) -> Tensor:
    return _window(size, periodic, options, lambda turns: 1 - (turns / math.pi - 1).abs())


def _window(size: Any, periodic: bool, options: dict[str, Any], shape: Callable[[Tensor], Tensor]) -> Tensor:
    """A window by its values over one turn of 2π; one of a single place is 1."""
    count = _count(size, options)
    turns = torch.arange(size, **_floats(options)) * (2 * math.pi / (count if periodic else (count - 1).clamp(min=1)))
    return torch.where(count == 1, torch.ones_like(turns), shape(turns))


def _floats(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a result in floats."""
    dtype = options.get("dtype") or torch.get_default_dtype()
    return {"dtype": dtype if dtype.is_floating_point else torch.get_default_dtype(), "device": options.get("device")}


def _count(size: Any, options: dict[str, Any]) -> Tensor:
    """A size as a tensor of no axes: as a number of Python's it would be asked whether it is 1."""
    return torch.scalar_tensor(size, **_floats(options))


def _tensor_split(values: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of which the first are one longer where they cannot all be equally long, or parts between given places."""
    size, sections = values.shape[dim], indices_or_sections
    if not isinstance(sections, Sequence):
        if isinstance(sections, Tensor):
            raise TypeError("tensor_split at places that a tensor holds: give a list of numbers")
        lengths = [(size - place + sections - 1) // sections for place in range(sections)]
        starts = [sum(lengths[:place]) for place in range(sections)]
        return tuple(values.narrow(dim, *own) for own in zip(starts, lengths, strict=True))
    ends = [*sections, size]
    whole = slice(None)
    before = (whole,) * (dim % values.dim())
    return tuple(values[*before, slice(*own)] for own in zip([0, *sections], ends, strict=True))


def _take_along_dim(values: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    if dim is None:
        return values.reshape(-1).gather(0, indices.reshape(-1))
    axis = dim % values.dim()
    sizes = [_joined(*own) for own in zip(values.shape, indices.shape, strict=True)]
    rows, places = ([*sizes[:axis], own.shape[axis], *sizes[axis + 1 :]] for own in (values, indices))
    return values.expand(rows).gather(axis, indices.expand(places))


def _new_tensor(values: Tensor, data: Any, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
    return torch.tensor(data, dtype=dtype or values.dtype, device=device)


def _joined(one: Any, other: Any) -> Any:
    """The size of an axis of two tensors, either of which may have 1 there."""
    return other if statically_known_true(one == 1) else one


def _kron(values: Tensor, other: Tensor) -> Tensor:
    rank = max(values.dim(), other.dim())
    first, second = ([*[1] * (rank - own.dim()), *own.shape] for own in (values, other))
    spread = values.reshape([size for own in first for size in (own, 1)])
    product = spread * other.reshape([size for own in second for size in (1, own)])
    return product.reshape([one * two for one, two in zip(first, second, strict=True)])
