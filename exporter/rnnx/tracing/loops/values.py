"""What an instruction of an unrolled program reads: other instructions, weights, inputs, constants, slices of these."""

from dataclasses import dataclass
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Ref:
    """The result of the instruction at this place of the program; of the result's parts, one or all (None)."""

    place: int
    part: int | None = None


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A parameter or buffer of the model, by its dotted name."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Input:
    """An input of the model, by its place."""

    place: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Constant:
    """A tensor that forward makes of Python numbers."""

    tensor: Tensor


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A tensor of one number, such as a state of zeros; sizes are expressions of the inputs' sizes.

    A recurrent layer's own zeros, which it has where it is given no state, are `left_out`.
    """

    sizes: tuple[Any, ...]
    value: Any
    dtype: torch.dtype
    left_out: bool = False


@dataclass(frozen=True, kw_only=True)
class Size:
    """A number that follows from the inputs' sizes, as an expression of `size_symbol`s."""

    expression: sympy.Expr


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Elements of another value along an axis: `length` from `start` on, or one whose axis is dropped (not `keeps`)."""

    source: Any
    axis: int
    start: Any
    length: Any
    keeps: bool


TENSOR_VALUES = (Ref, Weight, Input, Constant, Filled, Slice)


def size_symbol(place: int, axis: int) -> sympy.Symbol:
    """The symbol of an input's axis, the same in every trace of a model."""
    return sympy.Symbol(f"input{place}_axis{axis}", integer=True, positive=True)


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One operator of an unrolled program: what it reads, the shape of what it gives, and its node's `meta`.

    `shapes` are those of the result, or of each of its parts. `leaves` are the values of the nested arguments and
    keywords in order, and `structure` nests them. `token` is equal for two that do the same to other values.
    """

    target: Any
    leaves: tuple[Any, ...]
    structure: Any
    shapes: tuple[tuple[sympy.Expr, ...], ...]
    token: Any
    meta: dict[str, Any]

    @property
    def name(self) -> str:
        """The operator's name alone, such as `linear`."""
        return str(getattr(self.target, "__name__", self.target)).split(".")[0]

    def shape_of(self, part: int | None) -> tuple[sympy.Expr, ...]:
        """The shape of the result or of one of its parts."""
        return self.shapes[part or 0]
