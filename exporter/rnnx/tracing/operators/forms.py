"""Operators that torch.onnx has no form of, or a wrong one, written with others that it has."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnnx.tracing.operators.complex_forms import COMPLEX_FORMS

_ATEN = torch.ops.aten

Form = Callable[..., Any]
Need = Callable[..., bool]


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **options: Any
) -> Tensor:
    """Attention without an axis of heads, as attention of one head: torch.onnx takes four axes alone."""
    if attn_mask is not None and attn_mask.dim() > 2:
        attn_mask = attn_mask.unsqueeze(1)
    heads = [own.unsqueeze(1) for own in (query, key, value)]
    attended: Tensor = _ATEN.scaled_dot_product_attention.default(*heads, attn_mask, *rest, **options)
    return attended.squeeze(1)


def sort_stable(
    values: Tensor, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> tuple[Tensor, Tensor]:
    """ONNX's TopK gives equal values in the order of their indices (https://onnx.ai/onnx/operators/onnx__TopK.html)."""
    ordered, indices = values.sort(dim=dim, descending=descending)
    return ordered, indices


def argsort_stable(values: Tensor, *, stable: bool, dim: int = -1, descending: bool = False) -> Tensor:
    """The indices of `sort_stable`."""
    return values.sort(dim=dim, descending=descending)[1]


def amax(values: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The largest of all values, where no axis is named."""
    return values.amax(list(range(values.dim())), keepdim)


def amin(values: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The smallest of all values, where no axis is named."""
    return values.amin(list(range(values.dim())), keepdim)


def cumprod(values: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Products of each value and those before it, over a square of the axis: ONNX has no CumProd before opset 26."""
    values = values if dtype is None else values.to(dtype)
    rows, before = _rows_before(values, dim)
    return torch.where(before, rows, torch.ones_like(rows)).prod(-1).movedim(-1, dim)


def cummax(values: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The largest value so far, and its last place."""
    rows, before = _rows_before(values, dim)
    return _last_of(rows, before, torch.where(before, rows, -math.inf).amax(-1), dim)


def cummin(values: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The smallest value so far, and its last place."""
    rows, before = _rows_before(values, dim)
    return _last_of(rows, before, torch.where(before, rows, math.inf).amin(-1), dim)


def median_dim(values: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The lower of the two middle values, as PyTorch has it."""
    return _sorted_at(values, (values.shape[dim] + 1) // 2 - 1, dim, keepdim)


def median(values: Tensor) -> Tensor:
    """The median of all values."""
    return median_dim(values.reshape(-1), 0)[0]


def kthvalue(values: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The k-th smallest value, counted from 1, and its place."""
    return _sorted_at(values, k - 1, dim, keepdim)


def hypot(a: Tensor, b: Tensor) -> Tensor:
    """The length of a hypotenuse."""
    return (a * a + b * b).sqrt()


def copysign(a: Tensor, b: Tensor) -> Tensor:
    """The magnitude of `a` with the sign of `b`."""
    return torch.where(b.signbit(), -a.abs(), a.abs())


def fmax(a: Tensor, b: Tensor) -> Tensor:
    """The larger value; of a number and NaN, the number."""
    return torch.where(a.isnan(), b, torch.where(b.isnan(), a, torch.maximum(a, b)))


def fmin(a: Tensor, b: Tensor) -> Tensor:
    """The smaller value; of a number and NaN, the number."""
    return torch.where(a.isnan(), b, torch.where(b.isnan(), a, torch.minimum(a, b)))


def rrelu(values: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, *_: Any) -> Tensor:
    """Outside of training the slope is the mean of its range."""
    return torch.nn.functional.leaky_relu(values, (lower + upper) / 2)


def cdist(a: Tensor, b: Tensor, p: float = 2.0, _: int | None = None) -> Tensor:
    """The distance of each row of `a` from each of `b`."""
    apart = (a.unsqueeze(-2) - b.unsqueeze(-3)).abs()
    if p == 0:
        return (apart != 0).to(a.dtype).sum(-1)
    if p in (1, math.inf):
        return apart.sum(-1) if p == 1 else apart.amax(-1)
    return (apart * apart).sum(-1).sqrt() if p == 2 else apart.pow(p).sum(-1).pow(1 / p)


def searchsorted(
    boundaries: Tensor,
    values: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """How many boundaries lie below each value, or up to it on the right side."""
    if sorter is not None:
        boundaries = boundaries.gather(-1, sorter)
    rows = boundaries if boundaries.dim() == 1 else boundaries.unsqueeze(-2)
    passed = rows <= values.unsqueeze(-1) if right or side == "right" else rows < values.unsqueeze(-1)
    return passed.sum(-1, dtype=torch.int32 if out_int32 else torch.int64)


def isin(elements: Tensor, of: Tensor, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element is among others."""
    found = (elements.unsqueeze(-1) == of.reshape(-1)).any(-1)
    return found.logical_not() if invert else found


def shifted_right(values: Tensor, places: int) -> Tensor:
    """Whole numbers shifted to the right; TensorRT has no BitShift."""
    return values.div(2**places, rounding_mode="floor")


def shifted_left(values: Tensor, places: int) -> Tensor:
    """Whole numbers shifted to the left."""
    factor: int = 2**places
    return values * factor


def chunk(values: Tensor, chunks: int, dim: int = 0) -> list[Tensor]:
    """Parts of a free axis; how many there are is the trace's, which guards it."""
    size: Any = values.shape[dim]
    part = (size + chunks - 1) // chunks
    own = size.node.hint
    count = -(-own // -(-own // chunks))
    lengths = [part] * (count - 1) + [size - (count - 1) * part]
    return [values.narrow(dim, place * part, length) for place, length in enumerate(lengths)]


def repeat_interleave(values: Tensor, repeats: Any, dim: int, **_: Any) -> Tensor:
    """Every place of an axis several times over, where a free size says how often."""
    axis = dim % values.dim()
    shape = list(values.shape)
    repeated = values.unsqueeze(axis + 1).expand(*shape[: axis + 1], repeats, *shape[axis + 1 :])
    return repeated.reshape(*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :])


def hamming_window(size: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **options: Any) -> Tensor:
    """Hamming's window with the constants of PyTorch, which are not ONNX's."""
    options = {key: value for key, value in options.items() if key in ("dtype", "device")}
    turns = torch.arange(size, **options) * (2 * math.pi / max(size if periodic else size - 1, 1))
    window: Tensor = alpha - beta * turns.cos()
    return window


def adaptive_avg_pool(values: Tensor, sizes: Any) -> Tensor:
    """The mean over each axis that becomes 1; torch.onnx takes a kernel of the example's size."""
    axes = [axis - len(sizes) for axis, size in enumerate(sizes) if isinstance(size, int) and size == 1]
    return values.mean(axes, keepdim=True)


def istft(
    spectrum: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """Overlapping frames added, and divided by what their windows add up to (https://docs.pytorch.org, torch.istft)."""
    hop, width = hop_length or n_fft // 4, win_length or n_fft
    batch = spectrum if spectrum.dim() == 3 else spectrum.unsqueeze(0)
    frames = torch.fft.irfft(batch.transpose(1, 2), n_fft, norm="ortho" if normalized else "backward")
    own = frames.new_ones(width) if window is None else window
    left = (n_fft - width) // 2
    own = torch.nn.functional.pad(own, (left, n_fft - width - left))
    size = n_fft + hop * (frames.shape[1] - 1)
    fold = {"output_size": (1, size), "kernel_size": (1, n_fft), "stride": (1, hop)}
    added = torch.nn.functional.fold((frames * own).transpose(1, 2), **fold)
    squares = (own * own).expand(1, frames.shape[1], n_fft).transpose(1, 2)
    signal = (added / torch.nn.functional.fold(squares, **fold)).flatten(1)
    start = n_fft // 2 if center else 0
    if length is not None:
        signal = torch.nn.functional.pad(signal, (0, n_fft + length))[:, start : start + length]
    else:
        signal = signal[:, start : size - start]
    return signal if spectrum.dim() == 3 else signal.squeeze(0)


def _becomes_means(values: Tensor, sizes: Any) -> bool:
    """Whether every axis that is pooled becomes 1, at least one does, and others keep their size."""
    ones = [isinstance(size, int) and size == 1 for size in sizes]
    kept = [str(size) == str(own) for size, own in zip(sizes, values.shape[-len(sizes) :], strict=True)]
    return any(ones) and all(one or same for one, same in zip(ones, kept, strict=True))


def _cuts_free_time(values: Tensor, _: int, dim: int = 0) -> bool:
    """Whether a free axis is cut that is not the last: of features, a further try fixes them."""
    return isinstance(values.shape[dim], torch.SymInt) and dim % values.dim() != values.dim() - 1


def _always(*_: Any, **__: Any) -> bool:
    return True


_ALWAYS: dict[Any, Form] = {
    _ATEN.sort.stable: sort_stable,
    _ATEN.argsort.stable: argsort_stable,
    _ATEN.cumprod.default: cumprod,
    _ATEN.cummax.default: cummax,
    _ATEN.cummin.default: cummin,
    _ATEN.median.default: median,
    _ATEN.median.dim: median_dim,
    _ATEN.kthvalue.default: kthvalue,
    _ATEN.hypot.default: hypot,
    _ATEN.copysign.Tensor: copysign,
    _ATEN.fmax.default: fmax,
    _ATEN.fmin.default: fmin,
    _ATEN.cdist.default: cdist,
    _ATEN.searchsorted.Tensor: searchsorted,
    _ATEN.isin.Tensor_Tensor: isin,
    _ATEN.__rshift__.Scalar: shifted_right,
    _ATEN.bitwise_right_shift.Tensor_Scalar: shifted_right,
    _ATEN.__lshift__.Scalar: shifted_left,
    _ATEN.bitwise_left_shift.Tensor_Scalar: shifted_left,
    _ATEN.hamming_window.default: hamming_window,
    _ATEN.hamming_window.periodic: hamming_window,
    _ATEN.hamming_window.periodic_alpha: hamming_window,
    _ATEN.hamming_window.periodic_alpha_beta: hamming_window,
}

FORMS: dict[Any, tuple[Form, Need]] = {
    _ATEN.scaled_dot_product_attention.default: (
        scaled_dot_product_attention,
        lambda query, *_, **__: query.dim() == 3,
    ),
    _ATEN.amax.default: (amax, lambda _, dim=(), *__: not dim),
    _ATEN.amin.default: (amin, lambda _, dim=(), *__: not dim),
    _ATEN.rrelu.default: (rrelu, lambda _, low=0.0, high=0.0, training=False, *__: not training),
    _ATEN.adaptive_avg_pool1d.default: (adaptive_avg_pool, _becomes_means),
    _ATEN.adaptive_avg_pool2d.default: (adaptive_avg_pool, _becomes_means),
    _ATEN.adaptive_avg_pool3d.default: (adaptive_avg_pool, _becomes_means),
    _ATEN.chunk.default: (chunk, _cuts_free_time),
    _ATEN.repeat_interleave.self_int: (
        repeat_interleave,
        lambda _, repeats, dim=None, **__: dim is not None and isinstance(repeats, torch.SymInt),
    ),
    **COMPLEX_FORMS,
    _ATEN.istft.default: (istft, lambda *args, **_: args[7:8] != (False,) and args[9:] != (True,)),
    **{operator: (form, _always) for operator, form in _ALWAYS.items()},
}
"""The form of each operator, and for which arguments it is needed."""


def _rows_before(values: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """A copy of the axis for each of its places, `(…, N, N)`, and which values each place has seen, `(N, N)`."""
    moved = values.movedim(dim, -1)
    places = torch.arange(moved.shape[-1], device=values.device)
    rows = moved.unsqueeze(-2).expand(*moved.shape[:-1], moved.shape[-1], moved.shape[-1])
    return rows, places.unsqueeze(0) <= places.unsqueeze(1)


def _last_of(rows: Tensor, before: Tensor, values: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    places = torch.arange(rows.shape[-1], device=rows.device)
    equal = before & (rows == values.unsqueeze(-1))
    last = torch.where(equal, places, -1).amax(-1)
    return values.movedim(-1, dim), last.movedim(-1, dim)


def _sorted_at(values: Tensor, place: int, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    ordered, indices = values.sort(dim=dim)
    found = (own.narrow(dim, place, 1) for own in (ordered, indices))
    value, index = (own if keepdim else own.squeeze(dim) for own in found)
    return value, index
