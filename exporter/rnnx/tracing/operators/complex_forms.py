"""Operators of complex numbers that torch.onnx has for real ones alone, written with their real and imaginary parts."""

from typing import Any

import torch
from torch import Tensor

_ATEN = torch.ops.aten


def pad_complex(values: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """Both parts padded; they lie along a last axis of their own."""
    parts = torch.nn.functional.pad(torch.view_as_real(values), (0, 0, *pad), mode, value)
    return torch.view_as_complex(parts)


def unfold_complex(values: Tensor, axis: int, size: int, step: int) -> Tensor:
    """The windows of both parts, `(…, size)`."""
    windows = torch.view_as_real(values).unfold(axis % values.dim(), size, step)
    return torch.view_as_complex(windows.transpose(-1, -2).contiguous())


def einsum_complex(equation: str, operands: Any, **options: Any) -> Tensor:
    """`(a + ib)(c + id) = ac - bd + i(ad + bc)`, each of which is a sum of products of real numbers."""
    first, second = (_parts(own) for own in operands)

    def product(one: int, other: int) -> Tensor:
        return torch.einsum(equation, first[one], second[other])

    return torch.view_as_complex(torch.stack((product(0, 0) - product(1, 1), product(0, 1) + product(1, 0)), -1))


def _parts(values: Tensor) -> tuple[Tensor, Tensor]:
    parts = torch.view_as_real(values)
    return parts.select(-1, 0), parts.select(-1, 1)


def _is_complex(values: Tensor, *_: Any, **__: Any) -> bool:
    return values.is_complex()


COMPLEX_FORMS: dict[Any, tuple[Any, Any]] = {
    _ATEN.pad.default: (
        pad_complex,
        lambda values, pad, mode="constant", value=None: values.is_complex() and not value,
    ),
    _ATEN.unfold.default: (unfold_complex, _is_complex),
    _ATEN.einsum.default: (
        einsum_complex,
        lambda _, operands, **__: len(operands) == 2 and all(own.is_complex() for own in operands),
    ),
}
"""The form of each operator, and for which arguments it is needed."""
