"""Which gate of a cell is wrong: the one whose value, solved for from h and c, is an affine function of x and h.

The other gates are taken to be right. If they are, what the gate's sum must have been differs from the right sum by
δ·(x, h, 1), and least squares over the rows gives δ: the weights that the backend has minus the checkpoint's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from rnnx.diagnosis.arithmetic import GateWeights, sigmoid
from rnnx.diagnosis.single_steps import CellSteps
from rnnx.diagnosis.step_faults import GATE_LETTERS
from rnnx_runtime.array_type import Array

_LEAST_SHARE = 0.5
"""The share of the rows that show a gate in which it must be solvable; a wrong guess asks for gates outside 0 to 1."""

_STEEP = 1e-3
"""The least derivative of the seen value by the gate's sum, below which a row says nothing of that sum."""

_RIDGE = 1e-13
"""What is added to the diagonal of the normal equations, as a share of its mean."""


@dataclass(frozen=True, kw_only=True)
class GateFit:
    """The weights of one gate and one hidden unit as the backend has them, minus the right ones.

    `by_part` holds the difference of each weight's row, `noise` the part of it that rounding can account for.
    `residual` is the largest error that is left, as a share of what passes. `gated`: a GRU's candidate, in which the
    two biases can be told apart.
    """

    gate: int
    unit: int
    gated: bool
    by_part: Mapping[str, Array]
    noise: Mapping[str, Array]
    residual: float


@dataclass(frozen=True, kw_only=True)
class _Solved:
    """By how much a gate's sum must have been off in each row, the derivative of the seen value by the gate's sum, and
    that by the gate itself."""

    off: Array
    steepness: Array
    seen_by: Array
    recurrent_factor: Array | None = None


def rows_needed(weights: GateWeights) -> int:
    """How many rows to observe for a fit that leaves enough of them to contradict it."""
    columns: int = weights.w_ih.shape[2] + weights.w_hh.shape[2] + 2
    seen = 2 if weights.nonlinearity == "relu" else 1  # about every other row is below zero, where it shows nothing
    return seen * (2 * columns + 16)


def wrong_units(weights: GateWeights, steps: CellSteps, limits: tuple[float, float]) -> tuple[int, ...]:
    """The hidden units whose next state is wrong in some row; a projected h mixes the units, so c alone tells them."""
    h, c = steps.error(weights)
    beyond = (c > limits[1]).any(axis=0)
    if weights.w_hr is None:
        beyond |= (h > limits[0]).any(axis=0)
    return tuple(int(unit) for unit in np.flatnonzero(beyond))


def fit_gate(weights: GateWeights, steps: CellSteps, limits: tuple[float, float], unit: int) -> GateFit | None:
    """The gate whose weights alone explain a unit, with the least residual; None where no gate alone does."""
    solve = {4: _lstm_gates, 3: _gru_gates, 1: _rnn_sum}[weights.w_hh.shape[0]]
    fits = []
    with np.errstate(all="ignore"):  # a wrong guess divides by zero and takes logarithms of negative numbers
        for gate, solved in solve(weights, steps, limits, unit):
            fit = _fitted(weights, steps, limits, unit, gate, solved)
            if fit is not None and fit.residual <= 1:
                fits.append(fit)
    return min(fits, key=lambda fit: fit.residual, default=None)


def _lstm_gates(
    weights: GateWeights, steps: CellSteps, limits: tuple[float, float], unit: int
) -> Iterator[tuple[int, _Solved]]:
    inputs, recurrent = _sums(weights, steps, unit)
    sums = inputs + recurrent
    i, f, o = (sigmoid(sums[:, gate]) for gate in (0, 1, 3))
    g, c = np.tanh(sums[:, 2]), steps.c[:, unit].astype(np.float64)
    if weights.w_hr is not None:
        if steps.next_c is not None:
            next_c = steps.next_c[:, unit].astype(np.float64)
            yield from _gates_of_c((i, f, g), sums, c, next_c, np.ones_like(c))
        return
    next_h, right_c = steps.next_h[:, unit].astype(np.float64), f * c + i * g
    if steps.next_c is None:
        next_c, seen_by = np.arctanh(next_h / o), o * (1 - np.square(next_h / o))
        only_o = True
    else:
        next_c, seen_by = steps.next_c[:, unit].astype(np.float64), np.ones_like(c)
        only_o = bool((np.abs(next_c - right_c) <= limits[1]).all())
    if only_o:
        value = next_h / np.tanh(right_c)
        yield 3, _solved_sigmoid(value, sums[:, 3], np.abs(np.tanh(right_c)))
    if steps.next_c is None or bool((np.abs(o * np.tanh(next_c) - next_h) <= 2 * limits[0]).all()):
        yield from _gates_of_c((i, f, g), sums, c, next_c, seen_by)


def _gates_of_c(
    gates: tuple[Array, Array, Array], sums: Array, c: Array, next_c: Array, seen_by: Array
) -> Iterator[tuple[int, _Solved]]:
    """The gates that the cell state shows: i, f and g."""
    i, f, g = gates
    yield 0, _solved_sigmoid((next_c - f * c) / g, sums[:, 0], np.abs(g) * seen_by)
    yield 1, _solved_sigmoid((next_c - i * g) / c, sums[:, 1], np.abs(c) * seen_by)
    value = (next_c - f * c) / i
    slope = i * (1 - np.square(value)) * seen_by
    yield 2, _Solved(off=np.arctanh(value) - sums[:, 2], steepness=slope, seen_by=i * seen_by)


def _rnn_sum(
    weights: GateWeights, steps: CellSteps, limits: tuple[float, float], unit: int
) -> Iterator[tuple[int, _Solved]]:
    """A plain RNN's h is one function of one sum; a ReLU shows the sum where it is positive."""
    inputs, recurrent = _sums(weights, steps, unit)
    seen, right = steps.next_h[:, unit].astype(np.float64), (inputs + recurrent)[:, 0]
    if weights.nonlinearity == "relu":
        positive = (seen > 0).astype(np.float64)
        yield 0, _Solved(off=seen - right, steepness=positive, seen_by=positive)
    else:
        yield 0, _Solved(off=np.arctanh(seen) - right, steepness=1 - np.square(seen), seen_by=np.ones_like(seen))


def _gru_gates(
    weights: GateWeights, steps: CellSteps, limits: tuple[float, float], unit: int
) -> Iterator[tuple[int, _Solved]]:
    h, seen = steps.h[:, unit].astype(np.float64), steps.next_h[:, unit].astype(np.float64)
    inputs, recurrent = _sums(weights, steps, unit)
    r, z = (sigmoid(inputs[:, gate] + recurrent[:, gate]) for gate in (0, 1))
    n = np.tanh(inputs[:, 2] + r * recurrent[:, 2])
    value = (seen - z * h) / (1 - z)
    off = np.arctanh(value) - inputs[:, 2] - r * recurrent[:, 2]
    slope = (1 - z) * (1 - np.square(value))
    yield 2, _Solved(off=off, steepness=slope, seen_by=1 - z, recurrent_factor=r)
    yield 1, _solved_sigmoid((seen - n) / (h - n), inputs[:, 1] + recurrent[:, 1], np.abs(h - n))
    reset = (np.arctanh(value) - inputs[:, 2]) / recurrent[:, 2]
    yield 0, _solved_sigmoid(reset, inputs[:, 0] + recurrent[:, 0], slope * np.abs(recurrent[:, 2]))


def _sums(weights: GateWeights, steps: CellSteps, unit: int) -> tuple[Array, Array]:
    """What the input and the state give one unit's gates, biases included: `(N, G)` each."""
    inputs = steps.x @ weights.w_ih[:, unit].T + weights.b_ih[:, unit]
    return inputs, steps.h.astype(np.float64) @ weights.w_hh[:, unit].T + weights.b_hh[:, unit]


def _solved_sigmoid(value: Array, right_sum: Array, seen_by: Array) -> _Solved:
    return _Solved(
        off=np.log(value / (1 - value)) - right_sum, steepness=value * (1 - value) * seen_by, seen_by=seen_by
    )


def _fitted(
    weights: GateWeights, steps: CellSteps, limits: tuple[float, float], unit: int, gate: int, solved: _Solved
) -> GateFit | None:
    usable = np.isfinite(solved.off) & (solved.steepness > _STEEP)
    columns = _columns(steps, solved.recurrent_factor)
    if usable.sum() < _LEAST_SHARE * (solved.seen_by > _STEEP).sum() or usable.sum() < columns.shape[1] + 8:
        return None
    steepness = solved.steepness[usable]
    rows, target = columns[usable] * steepness[:, np.newaxis], solved.off[usable] * steepness
    normal = rows.T @ rows
    # an input that is always zero has no weight to be found: the ridge leaves it at zero, with endless noise
    inverse = np.linalg.inv(normal + np.eye(len(normal)) * (_RIDGE * np.trace(normal) / len(normal)))
    delta = inverse @ (rows.T @ target)
    left = np.abs(rows @ delta - target)
    limit, gated = max(limits), solved.recurrent_factor is not None
    noise = np.sqrt(np.diag(inverse).clip(0)) * max(limit, float(left.max()))
    return GateFit(
        gate=gate,
        unit=unit,
        gated=gated,
        by_part=_by_part(weights, delta, gated=gated),
        noise=_by_part(weights, noise, gated=gated),
        residual=float(left.max()) / (4 * limit),
    )


def _columns(steps: CellSteps, factor: Array | None) -> Array:
    """What δ is multiplied with: (x, h, 1), and in a GRU's candidate (x, 1, r·h, r)."""
    one = np.ones((len(steps.x), 1))
    if factor is None:
        return np.concatenate([steps.x, steps.h, one], axis=1)
    r = factor[:, np.newaxis]
    return np.concatenate([steps.x, one, r * steps.h, r], axis=1)


def _by_part(weights: GateWeights, delta: Array, *, gated: bool) -> dict[str, Array]:
    width = weights.w_ih.shape[2]
    if gated:
        return {"w_ih": delta[:width], "b_ih": delta[width:][:1], "w_hh": delta[width + 1 : -1], "b_hh": delta[-1:]}
    return {"w_ih": delta[:width], "w_hh": delta[width:-1], "b_ih": delta[-1:], "b_hh": 0 * delta[-1:]}


def letter(weights: GateWeights, gate: int) -> str:
    """PyTorch's letter of a gate."""
    return GATE_LETTERS[{4: "lstm", 3: "gru", 1: "rnn"}[weights.w_hh.shape[0]]][gate]
