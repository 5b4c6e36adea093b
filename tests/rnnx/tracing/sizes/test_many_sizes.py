from typing import Any

import numpy as np
import pytest
import sympy  # type: ignore[import-untyped]
from torch.utils._sympy import functions

from rnnx.tracing.sizes.many_sizes import at_sizes

CeilToInt, FloorDiv, IntTrueDiv, Mod = functions.CeilToInt, functions.FloorDiv, functions.IntTrueDiv, functions.Mod
Max: Any = functions.Max
Min: Any = functions.Min
PythonMod = functions.PythonMod

T, B = sympy.symbols("s1 s2", integer=True, positive=True)
SIZES = np.arange(1, 40)


@pytest.mark.parametrize(
    "expression",
    [
        FloorDiv(T - 8, 4) + 1,
        Max(1, FloorDiv(CeilToInt(T) - 5, 4)),
        Min(T, 2 * B),
        PythonMod(3 - T, 7),
        sympy.Ne(Mod(T, 5), 0),
        sympy.Eq(64 * Max(1, FloorDiv(T - 5, 4) + 1) + 84, 148),
        (T > 2) & (FloorDiv(T, 3) < B),
        sympy.Or(sympy.Not(T <= 9), sympy.Eq(T, B)),
        IntTrueDiv(T, 4) >= 2,
    ],
    ids=str,
)
def test_many_sizes_give_what_each_gives(expression: Any) -> None:
    found = at_sizes(expression, {T: SIZES, B: 3})
    each = [expression.xreplace({T: sympy.Integer(int(size)), B: sympy.Integer(3)}) for size in SIZES]
    assert [
        bool(one) if own in (sympy.true, sympy.false) else int(one) for one, own in zip(found, each, strict=True)
    ] == [bool(own) if own in (sympy.true, sympy.false) else int(own) for own in each]


def test_a_symbol_without_a_size_is_an_error() -> None:
    with pytest.raises(KeyError):
        at_sizes(T + B, {T: SIZES})
