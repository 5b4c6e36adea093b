"""Numbers of a step as a straight line in the step's index and in the loop's length, read off from several traces."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy  # type: ignore[import-untyped]

from rnnx.tracing.loops.values import Size


@dataclass(frozen=True, kw_only=True)
class Affine:
    """`base + by_step * step + by_length * length`; `base` and `by_length` may be expressions of the inputs' sizes."""

    base: Any
    by_step: Any = 0
    by_length: Any = 0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A value at one step of a trace of one length."""

    step: int
    length: int
    value: Any


def fitted(samples: Sequence[Sample]) -> Affine | None:
    """The line through all samples; None where there is none."""
    first = samples[0]
    later = next((own for own in samples if own.length == first.length and own.step == first.step + 1), None)
    longer = next((own for own in samples if own.step == first.step and own.length > first.length), None)
    by_step = _minus(later.value, first.value) if later is not None else 0
    by_length = _minus(longer.value, first.value) / (longer.length - first.length) if longer is not None else 0
    base = _expression(first.value) - by_step * first.step - by_length * first.length
    found = Affine(base=_plain(base), by_step=_plain(by_step), by_length=_plain(by_length))
    return found if all(_is_at(found, own) for own in samples) else None


def _is_at(line: Affine, sample: Sample) -> bool:
    expected = _expression(line.base) + line.by_step * sample.step + line.by_length * sample.length
    difference = sympy.expand(_expression(sample.value) - expected)
    if difference == 0:
        return True
    return difference.is_Float and math.isclose(float(difference), 0, abs_tol=1e-9)


def _minus(one: Any, other: Any) -> Any:
    return sympy.expand(_expression(one) - _expression(other))


def _expression(value: Any) -> Any:
    return value.expression if isinstance(value, Size) else sympy.sympify(value)


def _plain(value: Any) -> Any:
    expression = sympy.expand(value)
    if expression.is_Integer:
        return int(expression)
    return float(expression) if expression.is_Float else expression
