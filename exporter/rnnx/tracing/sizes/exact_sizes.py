"""`int(T / 2)`, `round(T * 0.3)`, `math.ceil(T / 4)`: whole numbers that floats make of a free size, as integers.

torch.onnx writes them in float32, which rounds otherwise than Python's floats do, and knows no `round`. Here they are
divisions of integers, right at every size that Python was asked about.
"""

import math
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal
from unittest import mock

import numpy as np
import sympy  # type: ignore[import-untyped]
from torch import SymFloat, SymInt
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._sympy.functions import FloatTrueDiv, IntTrueDiv, ToFloat
from torch.utils._sympy.interp import sympy_interp
from torch.utils._sympy.reference import PythonReferenceAnalysis

from rnnx.errors import ExportError
from rnnx.modules.source_lines import below_trace, model_line

Rounding = Literal["trunc", "floor", "ceil", "round"]

_COMPARED = 2**16
"""Sizes at which the integers are held against Python's floats: doubles of larger ones are no less exact."""


@dataclass(frozen=True, kw_only=True)
class _Line:
    """`slope` times a whole number and `offset`; `atom` is None for a number alone."""

    slope: Fraction
    offset: Fraction
    atom: Any


@contextmanager
def exact_sizes() -> Iterator[None]:
    """Let whole numbers that are made of a free size by way of floats be integers inside the block."""
    methods: dict[str, Rounding] = {
        "__trunc__": "trunc", "__floor__": "floor", "__ceil__": "ceil", "__round__": "round"
    }  # fmt: skip
    with ExitStack() as stack:
        for name, rounding in methods.items():
            changed = _method(getattr(SymFloat, name), rounding)
            stack.enter_context(mock.patch.object(SymFloat, name, changed))
            if hasattr(SymInt, name):
                stack.enter_context(mock.patch.object(SymInt, name, _itself))
        yield


def _itself(size: SymInt, *_: Any) -> SymInt:
    """A whole number is its own ceiling, which PyTorch does not see."""
    return size


def _method(original: Callable[..., Any], rounding: Rounding) -> Callable[..., Any]:
    def convert(self: SymFloat, *args: Any) -> Any:
        line = _line(self.node.expr) if args in ((), (None,)) else None
        if line is None or line.atom is None or line.slope < 0 or line.offset < 0:
            return original(self, *args)
        other = _first_difference(self.node.expr, line, rounding)
        if other is not None:
            raise _inexact(line, rounding, other)
        return _rounded(_size(line.atom, self.node.shape_env), line, rounding)

    return convert


def _size(expression: Any, environment: ShapeEnv) -> Any:
    """The size that an expression of free sizes is, one operator after another, so that each becomes a node."""
    hints = environment.backed_var_to_val
    symbols = {own: environment.create_symintnode(own, hint=int(hints[own])) for own in expression.free_symbols}
    return sympy_interp(PythonReferenceAnalysis, symbols, expression)


def _rounded(size: Any, line: _Line, rounding: Rounding) -> Any:
    """The whole number by integers alone, of a size or of an array of sizes."""
    below = math.lcm(line.slope.denominator, line.offset.denominator)
    above = int(line.slope * below) * size + int(line.offset * below)
    if rounding == "ceil":
        return (above + below - 1) // below
    if rounding != "round":
        return above // below
    nearest = (2 * above + below) // (2 * below)
    is_tie = 1 - ((2 * above + below) % (2 * below) + 2 * below - 1) // (2 * below)
    return nearest - is_tie * (nearest % 2)  # a half goes to the even number


def _first_difference(expression: Any, line: _Line, rounding: Rounding) -> int | None:
    """The first size at which Python's floats give another whole number than the integers."""
    sizes = np.arange(_COMPARED)
    functions: dict[Rounding, Any] = {"trunc": np.trunc, "floor": np.floor, "ceil": np.ceil, "round": np.rint}
    floats = functions[rounding](_values(expression, line.atom, sizes))
    differing = np.flatnonzero(floats != _rounded(sizes, line, rounding))
    return int(differing[0]) if differing.size else None


def _values(expression: Any, atom: Any, sizes: Any) -> Any:
    """An expression in double precision, as Python computes it, for all sizes of its whole number."""
    if expression == atom:
        return sizes.astype(np.float64)
    parts = [_values(own, atom, sizes) for own in expression.args]
    if isinstance(expression, ToFloat):
        return parts[0]
    if isinstance(expression, IntTrueDiv | FloatTrueDiv):
        return parts[0] / parts[1]
    if expression.is_number:
        return float(expression)
    result = parts[0]
    for part in parts[1:]:
        result = result * part if isinstance(expression, sympy.Mul) else result + part
    return result


def _line(expression: Any) -> _Line | None:
    """An expression that floats make of one whole number as a straight line; None where it is none."""
    if expression.is_number:
        number = Fraction(int(expression)) if expression.is_Integer else Fraction(repr(float(expression)))
        return _Line(slope=Fraction(0), offset=number, atom=None)
    if isinstance(expression, ToFloat):
        return _Line(slope=Fraction(1), offset=Fraction(0), atom=expression.args[0])
    if isinstance(expression, IntTrueDiv | FloatTrueDiv):
        over, under = expression.args
        whole = isinstance(expression, IntTrueDiv) and not over.is_number
        first = _Line(slope=Fraction(1), offset=Fraction(0), atom=over) if whole else _line(over)
        return _times(first, 1 / Fraction(repr(float(under)))) if under.is_number and under != 0 else None
    if isinstance(expression, sympy.Mul | sympy.Add):
        return _combined(isinstance(expression, sympy.Mul), [_line(own) for own in expression.args])
    return None


def _combined(is_product: bool, parts: list[_Line | None]) -> _Line | None:
    lines = [own for own in parts if own is not None]
    atoms = {own.atom for own in lines if own.atom is not None}
    if len(lines) < len(parts) or len(atoms) > 1:
        return None
    found = lines[0]
    for own in lines[1:]:
        if not is_product:
            atom = found.atom if own.atom is None else own.atom
            found = _Line(slope=found.slope + own.slope, offset=found.offset + own.offset, atom=atom)
        elif found.atom is not None and own.atom is not None:
            return None
        else:
            number, other = (found, own) if found.atom is None else (own, found)
            found = _Line(slope=other.slope * number.offset, offset=other.offset * number.offset, atom=other.atom)
    return found


def _times(line: _Line | None, factor: Fraction) -> _Line | None:
    return line and _Line(slope=line.slope * factor, offset=line.offset * factor, atom=line.atom)


def _inexact(line: _Line, rounding: Rounding, size: int) -> ExportError:
    frames = traceback.StackSummary.extract(traceback.walk_stack(sys._getframe(1)))
    ratio = f"n * {line.slope.numerator} // {line.slope.denominator}"
    return ExportError(
        "a whole number made of a free size by floats",
        got=f"one that floats round to another than integers at a size of {size}: "
        f"{model_line(below_trace(reversed(frames)))}",
        expected="one that every backend computes alike",
        remedy=f"write it with integers, such as {ratio}" if rounding != "ceil" else f"write -(-{ratio})",
    )
