"""A case with what is true of it: the float64 outputs, and how far float32 itself is from them."""

from dataclasses import dataclass

from rnnx.truths.cases import Case
from rnnx_runtime.array_type import Array


@dataclass(frozen=True, kw_only=True)
class CaseTruth:
    """One case with its float64 truth and, per output, the largest absolute error of a float32 evaluation."""

    case: Case
    truth: dict[str, Array]
    float32_error: dict[str, float]
