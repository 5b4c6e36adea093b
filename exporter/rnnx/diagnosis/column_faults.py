"""Hypotheses about single columns: one input or one state whose weights differ in every gate, where no one gate does.

What a column adds to the gates' sums is x_j times an unknown for each gate. The columns are ranked by a linear fit of
the seen steps; the best are fitted in full, unit by unit, by Gauss and Newton.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from rnnx.diagnosis.arithmetic import GateWeights, input_sums, product, state_from_sums
from rnnx.diagnosis.hypotheses import Hypothesis, faulty_model
from rnnx.diagnosis.simulation import Fault, Place, Stack
from rnnx.diagnosis.single_steps import CellSteps, observe_steps
from rnnx.diagnosis.step_faults import PARTS
from rnnx.diagnosis.suspect import Suspect
from rnnx.weights.recurrence import RecurrentModule
from rnnx_runtime.array_type import Array

_ROWS = 96
"""Steps that are fitted: many times the gates of a unit."""

_MOST_TRIED = 3
"""Columns that are fitted in full, the best first."""

_ITERATIONS = 12
_NUDGE = 1e-6


def column_faults(suspect: Suspect) -> Iterator[Hypothesis]:
    """One column of one weight, in each of the faulty cells."""
    stack = suspect.stack
    if stack is None or not suspect.faulty or suspect.contract.projection_size != suspect.contract.hidden_size:
        return
    observed = observe_steps(suspect.prober, _ROWS, seed=3)[0]
    found: dict[Place, GateWeights] = {}
    texts = []
    for place in suspect.faulty:
        fitted = _fitted(stack, place, observed.get(place))
        if fitted is None:
            return
        found[place] = fitted.weights
        texts.append(_told(suspect.module, place, fitted))
    predict = faulty_model(stack, suspect.contract, Fault(stack=found))
    yield Hypothesis(cause="weight-fault", detail="; ".join(texts), predict=predict, places=tuple(found))


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A column of a weight, the weights with what was found of it, and the error that is left."""

    part: str
    place: int
    change: Array
    weights: GateWeights
    left: float


def _fitted(stack: Stack, place: Place, steps: CellSteps | None) -> _Column | None:
    if steps is None:
        return None
    ranked = _ranked(stack[place], steps)[:_MOST_TRIED]
    fits = [_full_fit(stack[place], steps, part, column) for part, column in ranked]
    return min(fits, key=lambda fit: fit.left, default=None)


def _ranked(weights: GateWeights, steps: CellSteps) -> list[tuple[str, int]]:
    """The columns by the share of the error that they explain where the step is taken for linear."""
    slopes, wrong = _slopes(weights, steps), _seen(steps) - _computed(weights, steps)
    shares = {}
    for part, values in (("w_ih", steps.x), ("w_hh", steps.h)):
        for column in range(values.shape[1]):
            rows = slopes * values[:, column, np.newaxis, np.newaxis, np.newaxis]  # (N, S, H, G)
            shares[part, column] = _explained(rows, wrong)
    return sorted(shares, key=lambda key: -shares[key])


def _explained(rows: Array, wrong: Array) -> float:
    """By how much the best change of each unit lowers the squared error."""
    normal = np.einsum("nshg,nshk->hgk", rows, rows)
    target = np.einsum("nshg,nsh->hg", rows, wrong)
    ridge = np.eye(normal.shape[-1]) * (1e-9 * np.trace(normal, axis1=1, axis2=2) + 1e-300)[:, np.newaxis, np.newaxis]
    best = np.linalg.solve(normal + ridge, target[..., np.newaxis])[..., 0]
    return float((best * target).sum())


def _full_fit(weights: GateWeights, steps: CellSteps, part: str, column: int) -> _Column:
    values = (steps.x if part == "w_ih" else steps.h)[:, column].astype(np.float64)
    change = np.zeros(weights.w_ih.shape[:2])
    for _ in range(_ITERATIONS):
        current = _with_column(weights, part, column, change)
        wrong = _seen(steps) - _computed(current, steps)
        rows = _slopes(current, steps, recurrent=part == "w_hh") * values[:, np.newaxis, np.newaxis, np.newaxis]
        normal = np.einsum("nshg,nshk->hgk", rows, rows)
        target = np.einsum("nshg,nsh->hg", rows, wrong)
        ridge = np.eye(normal.shape[-1]) * (1e-12 * np.trace(normal, axis1=1, axis2=2) + 1e-300)[:, None, None]
        change = change + np.linalg.solve(normal + ridge, target[..., np.newaxis])[..., 0].T
    repaired = _with_column(weights, part, column, change)
    left = float(np.square(_seen(steps) - _computed(repaired, steps)).sum())
    return _Column(part=part, place=column, change=change, weights=repaired, left=left)


def _with_column(weights: GateWeights, part: str, column: int, change: Array) -> GateWeights:
    value = getattr(weights, part).copy()
    value[:, :, column] += change
    return replace(weights, **{part: value})


def _seen(steps: CellSteps) -> Array:
    """What the steps show, `(N, S, H)`: h, and c where it is seen."""
    return np.stack([steps.next_h, *([] if steps.next_c is None else [steps.next_c])], 1).astype(np.float64)


def _computed(weights: GateWeights, steps: CellSteps) -> Array:
    recurrent = product(steps.h.astype(np.float64), weights.w_hh) + weights.b_hh
    return _after(weights, steps, input_sums(weights, steps.x), recurrent)


def _slopes(weights: GateWeights, steps: CellSteps, *, recurrent: bool = False) -> Array:
    """By how much each gate's sum moves what is seen, `(N, S, H, G)`."""
    inputs, own = input_sums(weights, steps.x), product(steps.h.astype(np.float64), weights.w_hh) + weights.b_hh
    before, slopes = _after(weights, steps, inputs, own), []
    for gate in range(inputs.shape[1]):
        nudge = np.zeros_like(inputs)
        nudge[:, gate] = _NUDGE
        moved = (
            _after(weights, steps, inputs, own + nudge) if recurrent else _after(weights, steps, inputs + nudge, own)
        )
        slopes.append((moved - before) / _NUDGE)
    return np.stack(slopes, -1)


def _after(weights: GateWeights, steps: CellSteps, inputs: Array, recurrent: Array) -> Array:
    h, c = state_from_sums(weights, inputs, recurrent, steps.h.astype(np.float64), steps.c.astype(np.float64))
    return np.stack([h, *([] if steps.next_c is None else [c])], 1)


def _told(module: RecurrentModule | None, place: Place, fitted: _Column) -> str:
    words = PARTS[fitted.part]
    key = module.keys(*place).get(words, words) if module else words
    rows = int((np.abs(fitted.change) > 1e-5).sum())
    largest = float(np.abs(fitted.change).max())
    return f"{key}, column {fitted.place}: {rows} of {fitted.change.size} rows differ, by up to {largest:.3g}"
