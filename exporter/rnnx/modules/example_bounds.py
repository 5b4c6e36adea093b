"""How much an example that somebody describes may hold, and between which values: found out before any is made."""

from collections.abc import Iterable
from math import prod

MOST_BYTES = 2**28
"""Bytes of all inputs of an example together; an export keeps it a few times over."""

_FLOAT32_MAX = 3.4e38

BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int32": 4, "int64": 8, "bool": 1}
"""What one element takes."""

VALUES: dict[str, tuple[float, float]] = {
    "float16": (-65504.0, 65504.0),
    "bfloat16": (-3.38e38, 3.38e38),
    "float32": (-_FLOAT32_MAX, _FLOAT32_MAX),
    "float64": (-_FLOAT32_MAX, _FLOAT32_MAX),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 2),
}
"""The least and the largest value of a dtype that can be drawn: float64 is drawn in float32, int64 below its last."""


def unfit_values(dtype: str, low: float, high: float) -> str:
    """Which values a dtype has, where a range is not within them; empty where it is."""
    least, most = VALUES[dtype]
    if not least <= low <= high <= most:
        return f"values of {dtype}, from {least} to {most}"
    if isinstance(least, float) and high - low > _FLOAT32_MAX:
        return f"values no further apart than {_FLOAT32_MAX}"
    return ""


def bytes_of(tensors: Iterable[tuple[str, Iterable[int]]]) -> int:
    """What tensors of these dtypes and sizes take together."""
    return sum(BYTES[dtype] * prod(sizes) for dtype, sizes in tensors)
