"""Conditions and expressions of sizes, computed for many sizes of one dim at once."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._sympy.interp import sympy_interp
from torch.utils._sympy.reference import PythonReferenceAnalysis

Sizes = NDArray[np.int64]


def at_sizes(expression: Any, sizes: Mapping[Any, int | Sizes]) -> Any:
    """An expression's values: `sizes` gives each symbol a number, or an array of them.

    Raises:
        KeyError: a symbol has no size.
        NotImplementedError, TypeError: an operator that has no form for arrays.
    """
    with np.errstate(all="ignore"):
        return sympy_interp(_ArrayAnalysis, dict(sizes), expression)


class _ArrayAnalysis(PythonReferenceAnalysis):
    """The operators of PyTorch's sizes for arrays of them."""

    @staticmethod
    def eq(a: Any, b: Any) -> Any:
        return np.equal(a, b)

    @classmethod
    def ne(cls, a: Any, b: Any) -> Any:
        return np.not_equal(a, b)

    @staticmethod
    def not_(a: Any) -> Any:
        return np.logical_not(a)

    @staticmethod
    def and_(a: Any, b: Any) -> Any:
        return np.logical_and(a, b)

    @staticmethod
    def or_(a: Any, b: Any) -> Any:
        return np.logical_or(a, b)

    @staticmethod
    def maximum(a: Any, b: Any) -> Any:
        return np.maximum(a, b)

    @staticmethod
    def minimum(a: Any, b: Any) -> Any:
        return np.minimum(a, b)

    @staticmethod
    def int_truediv(a: Any, b: Any) -> Any:
        return np.true_divide(a, b)

    @staticmethod
    def truediv(a: Any, b: Any) -> Any:
        return np.true_divide(a, b)

    @staticmethod
    def trunc_to_int(x: Any, dtype: torch.dtype) -> Any:
        return np.trunc(x).astype(np.int64)

    @staticmethod
    def floor_to_int(x: Any, dtype: torch.dtype) -> Any:
        return np.floor(x).astype(np.int64)

    @staticmethod
    def ceil_to_int(x: Any, dtype: torch.dtype) -> Any:
        return np.ceil(x).astype(np.int64)

    @staticmethod
    def to_dtype(x: Any, dtype: torch.dtype) -> Any:
        return np.asarray(x, np.float64) if dtype == torch.float64 else x

    @staticmethod
    def pow_by_natural(a: Any, b: Any) -> Any:
        return np.power(a, b)
