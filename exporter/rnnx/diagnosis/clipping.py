"""Hypotheses about clipping: the bound is found as the one that leaves the least error."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from rnnx.diagnosis.arithmetic import Arithmetic
from rnnx.diagnosis.simulation import Place, Stack
from rnnx.diagnosis.step_faults import StepFault
from rnnx.diagnosis.suspect import Sighting, Suspect

_BOUNDS = np.geomspace(0.05, 64, 60)
"""Where the search starts; a sigmoid clipped at 16 already differs from 1 by less than float32 sees."""

_GOLDEN = (5**0.5 - 1) / 2


def clip_faults(suspect: Suspect) -> Iterator[StepFault]:
    """Gates, cell state or both clipped, at the bound that the first faulty cell shows."""
    stack = suspect.stack
    if stack is None or not suspect.faulty:
        return
    place = suspect.faulty[0]
    kinds: dict[str, Callable[[float], Arithmetic]] = {
        "what goes into the gates": lambda bound: Arithmetic(clip=bound),
        "what goes into the gates, and the cell state": lambda bound: Arithmetic(clip=bound, cell_clip=bound),
        "the cell state" if suspect.contract.cell == "lstm" else "the state": lambda bound: Arithmetic(cell_clip=bound),
    }
    for words, arithmetic in kinds.items():
        bound = _best_bound(suspect.sightings[place], stack, place, arithmetic)
        yield StepFault(cause="clip", detail=f"{words}, at ±{bound:.4g}", arithmetic=arithmetic(bound))


def _best_bound(
    sightings: Sequence[Sighting], stack: Stack, place: Place, arithmetic: Callable[[float], Arithmetic]
) -> float:
    def error(bound: float) -> float:
        found = [sighting.steps.error(stack[place], arithmetic(bound)) for sighting in sightings]
        return sum(float(np.square(part).sum()) for pair in found for part in pair)

    errors = [error(bound) for bound in _BOUNDS]
    at = int(np.argmin(errors))
    return _narrowed(error, float(_BOUNDS[max(at - 1, 0)]), float(_BOUNDS[min(at + 1, len(_BOUNDS) - 1)]))


def _narrowed(error: Callable[[float], float], low: float, high: float) -> float:
    """Golden-section search for the smallest error between two bounds."""
    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    error_a, error_b = error(a), error(b)
    while high - low > 1e-9 * high:
        if error_a <= error_b:
            high, b, error_b = b, a, error_a
            a = high - _GOLDEN * (high - low)
            error_a = error(a)
        else:
            low, a, error_a = a, b, error_b
            b = low + _GOLDEN * (high - low)
            error_b = error(b)
    return float(np.float32((low + high) / 2))
