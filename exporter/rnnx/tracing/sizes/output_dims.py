"""The dims of a traced model's outputs: long ones that come to a short one, and those that are too long to tell."""

from collections.abc import Iterable
from typing import Any

import sympy  # type: ignore[import-untyped]

from rnnx.tracing.recurrence_nodes import Size
from rnnx.tracing.sizes.dims import DimNames, expression_of
from rnnx_runtime.contract import Dim
from rnnx_runtime.contract_json import LONGEST_DIM
from rnnx_runtime.dim_expressions import size_of, symbols_of

_LONG = 40
"""Letters from which on a dim is looked at: padding to a multiple and cutting it off again writes hundreds."""

_COMPARED = 512
"""Sizes at which a dim is held against the short one: several periods of what divides it."""


class OutputDims:
    """The dims of outputs under a contract's names; a size that no contract can write has a symbol of its own."""

    def __init__(self, names: DimNames) -> None:
        self._names = names
        self._made: dict[Any, str] = {}

    def of(self, shape: Iterable[Size]) -> tuple[Dim, ...]:
        """A traced shape as the contract's dims."""
        return tuple(self._dim(size) for size in shape)

    def _dim(self, size: Size) -> Dim:
        (found,) = self._names.dims([size])
        if isinstance(found, int) or len(found) < _LONG:
            return found
        short = _straight(found)
        if short is not None or len(found) <= LONGEST_DIM:
            return found if short is None else short
        return self._made.setdefault(expression_of(size), f"N{len(self._made) + 1}")


def _straight(dim: str) -> Dim | None:
    """The line `a*T + b` that a dim of one symbol is at all sizes; None where it is none."""
    symbol, *others = symbols_of(dim) or ("",)
    if others or not symbol:
        return None
    sizes = [size_of(dim, {symbol: size}) for size in range(1, _COMPARED)]
    first, second = sizes[:2]
    if first is None or second is None or sizes != [first + (second - first) * step for step in range(len(sizes))]:
        return None
    line = (second - first) * sympy.Symbol(symbol, integer=True) + 2 * first - second
    return int(line) if line.is_Integer else str(line)
