"""Hypotheses about clipping: the bound is found as the one that leaves the least error."""

import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from rnnx.diagnosis.arithmetic import Arithmetic
from rnnx.diagnosis.searching import narrowed
from rnnx.diagnosis.simulation import Fault, simulate
from rnnx.diagnosis.step_faults import StepFault
from rnnx.diagnosis.suspect import Suspect
from rnnx_runtime.array_type import Array

_BOUNDS = np.geomspace(0.05, 64, 60)
"""Where the search starts; a sigmoid clipped at 16 already differs from 1 by less than float32 sees."""

_LONGEST = 32
"""Time steps of the longest case that a bound is searched on."""


def clip_faults(suspect: Suspect) -> Iterator[StepFault]:
    """Gates, cell state or both clipped, at the bound that the first faulty cell shows, or else the smallest cases."""
    kinds: dict[str, Callable[[float], Arithmetic]] = {
        "what goes into the gates": lambda bound: Arithmetic(clip=bound),
        "what goes into the gates, and the cell state": lambda bound: Arithmetic(clip=bound, cell_clip=bound),
        "what goes into every activation": lambda bound: Arithmetic(clip=bound, output_clip=bound),
        "the cell state" if suspect.contract.cell == "lstm" else "the state": lambda bound: Arithmetic(cell_clip=bound),
    }
    left = _left_by(suspect)
    if left is None:
        return
    for words, arithmetic in kinds.items():
        bound = _best_bound(functools.partial(_at_bound, left, arithmetic))
        yield StepFault(cause="clip", detail=f"{words}, at ±{bound:.4g}", arithmetic=arithmetic(bound))


def _left_by(suspect: Suspect) -> Callable[[Arithmetic], float] | None:
    """The squared error that an arithmetic leaves: of a faulty cell's steps, or of the largest failing inputs."""
    stack = suspect.stack
    ran = [one for one in suspect.failing if one.ran and one.time <= _LONGEST]
    if stack is None or not (suspect.faulty or ran):
        return None
    if suspect.faulty:
        place = suspect.faulty[0]
        seen = suspect.sightings[place]
        return lambda how: sum(_squared(pair) for pair in (one.steps.error(stack[place], how) for one in seen))
    largest = max(ran, key=lambda one: float(np.abs(one.entry.case.feeds["x"]).max()))

    def left(how: Arithmetic) -> float:
        fault = Fault(arithmetic=dict.fromkeys(stack, how))
        prediction = simulate(stack, suspect.contract, largest.entry.case.feeds, fault)
        return _squared([largest.values[name] - prediction[name] for name in largest.limits])

    return left


def _at_bound(left: Callable[[Arithmetic], float], arithmetic: Callable[[float], Arithmetic], bound: float) -> float:
    return left(arithmetic(bound))


def _squared(errors: Iterable[Array]) -> float:
    return sum(float(np.square(error).sum()) for error in errors)


def _best_bound(error: Callable[[float], float]) -> float:
    errors = [error(bound) for bound in _BOUNDS]
    at = int(np.argmin(errors))
    return narrowed(error, float(_BOUNDS[max(at - 1, 0)]), float(_BOUNDS[min(at + 1, len(_BOUNDS) - 1)]))
