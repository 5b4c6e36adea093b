"""Hypotheses about precision: the backend's errors are those that a narrower format makes.

A rounding is not predicted to the last bit: a sum in another order rounds a factor the other way now and then. So a
format is named by the share of the squared error that its emulation explains.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from rnnx.diagnosis.arithmetic import Arithmetic, GateWeights
from rnnx.diagnosis.observations import Observation
from rnnx.diagnosis.rounding import Format, Grid, Operand, Rounding
from rnnx.diagnosis.simulation import Fault, Outputs, Place, Stack, simulate
from rnnx.diagnosis.suspect import Suspect

LEAST_EXPLAINED = 0.5
"""The share of the squared error that names a format; of unrelated roundings it is zero or negative."""

_PROMISING = 0.25
"""The share in the smallest cases below which the larger ones are not tried."""

_MOST_STEPS = 40
"""Time steps in all of the cases that an emulation is tried on."""

_FACTORS: tuple[Operand, ...] = ("weights", "inputs", "states")
_SETS: dict[str, tuple[Operand, ...]] = {
    "weights": ("weights",),
    "weights and x": ("weights", "inputs"),
    "x": ("inputs",),
    "weights, x and h, the factors of every product": _FACTORS,
    "weights, x, h, gates and states": (*_FACTORS, "gates", "cell", "carried"),
    "the state after a step": ("cell",),
    "the state before a step": ("carried",),
    "the state": ("cell", "carried"),
    "gates and states": ("gates", "cell", "carried"),
}


@dataclass(frozen=True, kw_only=True)
class Emulation:
    """A format applied to some operands, and the share of the squared error that it explains."""

    cause: str
    detail: str
    explained: float


def emulations(suspect: Suspect) -> list[Emulation]:
    """Every format and choice of operands that explains enough, the best first."""
    stack = suspect.stack
    chosen = _chosen(suspect.failing)
    if stack is None or not chosen:
        return []
    found = []
    for cause, words, rounding in _roundings():
        fault = rounding_fault(stack, rounding)
        # the first cases are the smallest, and turn most formats away
        share = _share(suspect, stack, chosen[:2], fault)
        share = _share(suspect, stack, chosen, fault) if share >= _PROMISING else share
        if share >= LEAST_EXPLAINED:
            detail = f"{words} (the emulation explains {share:.1%} of the squared error)"
            found.append(Emulation(cause=cause, detail=detail, explained=share))
    # equal shares keep the order above, in which the fewest operands come first
    return sorted(found, key=lambda one: -round(one.explained, 3))


def _share(suspect: Suspect, stack: Stack, observations: Sequence[Observation], fault: Fault) -> float:
    predictions = [simulate(stack, suspect.contract, one.entry.case.feeds, fault) for one in observations]
    return explained(observations, predictions)


def rounding_fault(stack: Stack, rounding: Rounding) -> Fault:
    """A model that rounds at every place."""
    rounded: dict[Place, GateWeights] = {}
    for place, own in stack.items():
        names = ("w_ih", "w_hh") if own.w_hr is None else ("w_ih", "w_hh", "w_hr")
        matrices: dict[str, Any] = {name: rounding.of_weight(getattr(own, name)) for name in names}
        rounded[place] = own if rounding.pairs_saturate else replace(own, **matrices)
    return Fault(stack=rounded, arithmetic=dict.fromkeys(stack, Arithmetic(rounding=rounding)))


def explained(observations: Sequence[Observation], predictions: Sequence[Outputs]) -> float:
    """The share of the squared error against the truth that predictions explain; below zero where they are worse."""
    wrong = left = 0.0
    for one, prediction in zip(observations, predictions, strict=True):
        for name, limit in one.limits.items():
            value = one.values[name].astype(np.float64)
            wrong += float(np.square((value - one.entry.truth[name]) / limit).sum())
            left += float(np.square((value - prediction[name]) / limit).sum())
    return 1 - left / wrong if wrong else 0.0


def _roundings() -> Iterator[tuple[str, str, Rounding]]:
    """What weights alone are stored in is float16; TF32 rounds both factors of a product, and states never."""
    formats: tuple[tuple[str, Format, tuple[str, ...]], ...] = (
        (
            "float16-precision",
            "float16",
            ("weights", "the state after a step", "the state before a step", "the state", "gates and states"),
        ),
        ("tf32", "tf32", ("weights, x and h, the factors of every product", "weights and x", "x")),
        ("tf32", "tf32-truncated", ("weights, x and h, the factors of every product",)),
        ("float16-precision", "float16", ("weights, x, h, gates and states",)),
        ("bfloat16-precision", "bfloat16", tuple(_SETS)),
        ("int8-precision", "int8", ("weights", "weights and x", "weights, x and h, the factors of every product", "x")),
        (
            "int8-precision",
            "int8 of 7 bits",
            ("weights", "weights and x", "weights, x and h, the factors of every product"),
        ),
    )
    for cause, form, names in formats:
        for name in names:
            yield cause, name, Rounding(format=form, operands=frozenset(_SETS[name]))
    for grid in get_args(Grid):
        yield "weights-rounded", f"to {grid}", Rounding(format=grid, operands=frozenset(_SETS["weights"]))
    words = "sums of two products are cut off at 16 bits"
    yield "int8-saturation", words, Rounding(format="int8", operands=frozenset(_FACTORS), pairs_saturate=True)


def _chosen(failing: Sequence[Observation]) -> list[Observation]:
    chosen: list[Observation] = []
    for one in failing:
        if one.ran and (not chosen or sum(other.time for other in chosen) + one.time <= _MOST_STEPS):
            chosen.append(one)
    return chosen
