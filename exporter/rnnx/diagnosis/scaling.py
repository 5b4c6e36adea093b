"""Hypotheses about factors: an output, a weight or a bias that is a multiple of what it should be, -1 times among them.

The factor is found as the one that leaves the least error, of one step of the first faulty cell.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from rnnx.diagnosis.arithmetic import GateWeights, product, state_from_sums
from rnnx.diagnosis.hypotheses import Hypothesis
from rnnx.diagnosis.observations import Observation
from rnnx.diagnosis.searching import least_at
from rnnx.diagnosis.simulation import Place, Stack
from rnnx.diagnosis.step_faults import GATE_LETTERS, KEYS, PARTS, StepFault
from rnnx.diagnosis.suspect import Sighting, Suspect
from rnnx.truths.truth import CaseTruth
from rnnx_runtime.array_type import Array

_FACTORS = np.geomspace(1e-3, 1e3, 40)
"""Where the search starts, for either sign."""

_PARTS = (
    ("w_ih",), ("w_hh",), ("w_ih", "w_hh"), ("b_ih", "b_hh"), ("b_ih",), ("b_hh",), ("w_ih", "w_hh", "b_ih", "b_hh")
)  # fmt: skip


def scaled_outputs(suspect: Suspect) -> Iterator[Hypothesis]:
    """Outputs that are the truth times a factor; needs the truth alone."""
    one = next((found for found in suspect.failing if found.ran), None)
    if one is None:
        return
    factors = {name: _factor(one, name) for name in one.failed}
    names = sorted(name for name, factor in factors.items() if abs(factor) > _FACTORS[0])
    for count in range(len(names), 0, -1):
        for chosen in combinations(names, count):
            own = {name: factors[name] for name in chosen}
            detail = ", ".join(f"{name} is {_times(factor)} what it should be" for name, factor in own.items())
            yield Hypothesis(cause="output-scaled", detail=detail, predict=_multiplied(own))


def scaled_weights(suspect: Suspect) -> Iterator[StepFault]:
    """A weight or a bias times a factor, in all gates or in one."""
    if suspect.stack is None or not suspect.faulty:
        return
    place = suspect.faulty[0]
    weights = suspect.stack[place]
    sums = [_Sums.of(weights, sighting) for sighting in suspect.sightings[place]]
    letters = GATE_LETTERS[suspect.contract.cell]
    gates: Sequence[int | None] = (None, *(range(len(letters)) if len(letters) > 1 else ()))
    for gate in gates:
        projection = [("w_hr",)] if weights.w_hr is not None and gate is None else []
        for parts in (*_PARTS, *projection):
            factor = least_at(_left_by(weights, sums, parts, gate), _FACTORS)
            if abs(factor) <= _FACTORS[0]:  # zeros, which have a cause of their own
                continue
            where = "" if gate is None else f", gate {letters[gate]}"
            detail = f"{' and '.join(KEYS[name] for name in parts)}{where}: {_times(factor)} what it should be"
            yield StepFault(
                cause="weights-scaled",
                detail=detail,
                edit=_scaled(parts, gate, factor),
                gate=None if gate is None else letters[gate],
            )


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """What each part adds to the gates' sums over a sighting's steps: `(N, G, H)`, a bias `(G, H)`."""

    parts: Mapping[str, Array]
    sighting: Sighting

    @classmethod
    def of(cls, weights: GateWeights, sighting: Sighting) -> "_Sums":
        steps = sighting.steps
        parts = {"w_ih": product(steps.x, weights.w_ih), "w_hh": product(steps.h.astype(np.float64), weights.w_hh)}
        return cls(parts={**parts, "b_ih": weights.b_ih, "b_hh": weights.b_hh}, sighting=sighting)


def _left_by(
    weights: GateWeights, sums: Sequence[_Sums], parts: Sequence[str], gate: int | None
) -> Callable[[float], float]:
    """The squared error that a factor leaves."""
    gates = np.ones(len(weights.w_hh)) if gate is None else np.eye(len(weights.w_hh))[gate]

    def left(factor: float) -> float:
        scale = {name: (1 + (factor - 1) * gates * (name in parts))[:, np.newaxis] for name in PARTS}
        total = 0.0
        for own in sums:
            inputs, recurrent = (
                own.parts[f"w_{side}"] * scale[f"w_{side}"] + own.parts[f"b_{side}"] * scale[f"b_{side}"]
                for side in ("ih", "hh")
            )
            steps = own.sighting.steps
            h, c = state_from_sums(weights, inputs, recurrent, steps.h, steps.c)
            h = h * (factor if "w_hr" in parts else 1)
            total += float(np.square(steps.next_h - h).sum())
            total += 0.0 if steps.next_c is None else float(np.square(steps.next_c - c).sum())
        return total if np.isfinite(total) else float("inf")

    return left


def _scaled(parts: Sequence[str], gate: int | None, factor: float) -> Callable[[Stack, Place], GateWeights]:
    def edit(stack: Stack, place: Place) -> GateWeights:
        values: dict[str, Any] = {name: getattr(stack[place], name).copy() for name in parts}
        for value in values.values():
            value[slice(None) if gate is None else gate] *= factor
        return replace(stack[place], **values)

    return edit


def _factor(one: Observation, name: str) -> float:
    """By least squares; of an output that should be zero, 1."""
    truth, value = one.entry.truth[name].astype(np.float64), one.values[name].astype(np.float64)
    size = float(np.square(truth).sum())
    return _rounded(float((truth * value).sum()) / size) if size else 1.0


def _multiplied(factors: Mapping[str, float]) -> Callable[[CaseTruth], Mapping[str, Array]]:
    def predict(entry: CaseTruth) -> Mapping[str, Array]:
        return {**entry.truth, **{name: entry.truth[name] * factor for name, factor in factors.items()}}

    return predict


def _rounded(factor: float) -> float:
    """A factor of few digits where it is one but for rounding."""
    short = float(f"{factor:.5g}")
    return short if abs(short - factor) <= 1e-6 * abs(factor) else factor


def _times(factor: float) -> str:
    return "the negative of" if abs(factor + 1) <= 1e-6 else f"{factor:.6g} times"
