"""Hypotheses about single weights: which rows and columns of which gate differ from the checkpoint's, and how."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rnnx.diagnosis.arithmetic import GateWeights
from rnnx.diagnosis.gate_inversion import GateFit, fit_gate, letter, rows_needed, wrong_units
from rnnx.diagnosis.hypotheses import Hypothesis, faulty_model
from rnnx.diagnosis.simulation import Fault, Place, Stack
from rnnx.diagnosis.single_steps import observe_steps, rounding_limits
from rnnx.diagnosis.step_faults import PARTS
from rnnx.diagnosis.suspect import Suspect
from rnnx.weights.recurrence import RecurrentModule
from rnnx_runtime.array_type import Array

_MOST_UNITS = 64
"""Hidden units that are fitted; more are taken to have the fault that all of these have."""

_MOST_ROWS = 600
"""Rows times columns of a least-squares fit grow with the hidden size; beyond this, fewer units are fitted."""

_FEW_UNITS = 4

_MOST_LISTED = 3
"""Faults of single rows that are listed one by one."""


def weight_faults(suspect: Suspect) -> list[Hypothesis]:
    """The weights that the backend must have in its first faulty cells, as one hypothesis; none where no gate fits."""
    if suspect.stack is None or not suspect.faulty:
        return []
    stack: dict[Place, GateWeights] = {}
    texts, gates = [], []
    for place in suspect.faulty:
        fits = gate_fits(suspect, suspect.stack, place)
        if not fits:
            return []
        stack[place] = repaired(suspect.stack[place], fits)
        texts.append(described(suspect.stack[place], fits, _keys(suspect.module, place)))
        gates += [letter(suspect.stack[place], fit.gate) for fit in fits]
    one = gates[0] if len(set(gates)) == 1 else None
    predict = faulty_model(suspect.stack, suspect.contract, Fault(stack=stack))
    return [Hypothesis(cause="weight-fault", detail="; ".join(texts), predict=predict, places=tuple(stack), gate=one)]


def gate_fits(suspect: Suspect, stack: Stack, place: Place) -> list[GateFit]:
    """A fit for each wrong unit of a cell; empty where one cannot be explained by one gate."""
    weights = stack[place]
    rows = rows_needed(weights)
    steps = observe_steps(suspect.prober, rows, seed=2)[0].get(place)
    if steps is None:
        return []
    limits = rounding_limits(suspect.contract, suspect.row.precision, weights, steps)
    units = wrong_units(weights, steps, limits)
    fits = []
    for unit in units[: _MOST_UNITS if rows <= _MOST_ROWS else _FEW_UNITS]:
        fit = fit_gate(weights, steps, limits, unit)
        if fit is None:
            return []
        fits.append(fit)
    return _extended(weights, fits, units[len(fits) :])


def _extended(weights: GateWeights, fits: list[GateFit], others: Sequence[int]) -> list[GateFit]:
    """The fits of units that were not fitted, where all that were have one fault that can be written for any."""
    kinds = {(fit.gate, _kind(weights, fit)) for fit in fits}
    if not others or len(kinds) != 1:
        return [] if others else fits
    gate, kind = kinds.pop()
    changes = {"zeros": lambda row: -row, "flipped sign": lambda row: -2 * row}
    if any(what not in changes for _, what in kind):
        return []
    for unit in others:
        own = {name: getattr(weights, name)[gate, unit] for name in fits[0].by_part}
        delta = {name: 0 * np.atleast_1d(row) for name, row in own.items()}
        delta |= {name: changes[what](own[name]) for name, what in kind}
        fits = [*fits, replace(fits[0], unit=unit, by_part=delta)]
    return fits


def repaired(weights: GateWeights, fits: Sequence[GateFit]) -> GateWeights:
    """The weights with every difference that is more than noise."""
    parts = {name: getattr(weights, name).copy() for name in PARTS}
    for fit in fits:
        for name, delta in fit.by_part.items():
            row = np.where(_is_sure(fit, name), delta, 0)
            parts[name][fit.gate, fit.unit] += row if parts[name].ndim == 3 else row[0]
    return replace(weights, **parts)


def described(weights: GateWeights, fits: Sequence[GateFit], keys: Mapping[str, str]) -> str:
    """The faults in words: the checkpoint's key, the gate with its rows, and what is wrong in them."""
    hidden = weights.w_hh.shape[1]
    found: dict[tuple[int, str, str], list[int]] = {}
    for fit in fits:
        for name, what in _kind(weights, fit):
            found.setdefault((fit.gate, name, what), []).append(fit.unit)
    texts = []
    for (gate, name, what), units in _merged(found, fits).items():
        key = keys[name] if name[0] == "w" or fits[0].gated else f"{keys['b_ih']} + {keys['b_hh']}"
        rows = [gate * hidden + unit for unit in units]
        whole = "all rows" if len(rows) == hidden else f"row{'s' * (len(rows) > 1)} {_ranges(rows)}"
        texts.append(f"{key}, gate {letter(weights, gate)}, {whole}: {what}")
    return "; ".join(texts)


def _merged(
    found: Mapping[tuple[int, str, str], list[int]], fits: Sequence[GateFit]
) -> dict[tuple[int, str, str], list[int]]:
    """Rows of one gate's weight that each have a fault of their own, as one: nobody reads a list of thirty numbers."""
    kinds: dict[tuple[int, str], list[str]] = {}
    for gate, name, what in found:
        kinds.setdefault((gate, name), []).append(what)
    merged: dict[tuple[int, str, str], list[int]] = {}
    for (gate, name, what), units in found.items():
        words = what
        if len(kinds[gate, name]) > _MOST_LISTED:
            own = [fit for fit in fits if fit.gate == gate and _is_sure(fit, name).any()]
            columns = sorted({int(column) for fit in own for column in np.flatnonzero(_is_sure(fit, name))})
            largest = max(float(np.abs(fit.by_part[name]).max()) for fit in own)
            where = f" in column {columns[0]}" if len(columns) == 1 and name[0] == "w" else ""
            words = f"each differs{where}, by up to {largest:.3g}"
        merged.setdefault((gate, name, words), []).extend(units)
    return merged


def _kind(weights: GateWeights, fit: GateFit) -> tuple[tuple[str, str], ...]:
    """By part what is wrong in a unit's row."""
    found = []
    for name, delta in fit.by_part.items():
        sure = _is_sure(fit, name)
        if sure.any():
            right = np.atleast_1d(getattr(weights, name)[fit.gate, fit.unit])
            found.append((name, _row_fault(right, delta, sure, np.maximum(fit.noise[name], 1e-6))))
    return tuple(found)


def _row_fault(right: Array, delta: Array, sure: Array, noise: Array) -> str:
    seen, near = right + delta, 4 * noise

    def equals(other: Array) -> bool:
        return bool((np.abs(seen - other) <= near).all())

    if len(right) > 1:
        for words, other in {
            "zeros": np.zeros_like(right),
            "flipped sign": -right,
            "columns shifted by one": np.roll(right, 1),
            "columns shifted by one to the left": np.roll(right, -1),
            "columns in reverse order": right[::-1],
        }.items():
            if equals(other):
                return words
    columns = np.flatnonzero(sure)
    if len(columns) > 3:
        return f"{len(columns)} of {len(right)} columns differ, by up to {float(np.abs(delta).max()):.3g}"
    return ", ".join(_value_fault(int(k), float(right[k]), float(delta[k]), float(near[k])) for k in columns)


def _value_fault(column: int, right: float, delta: float, near: float) -> str:
    if abs(right + delta) <= near:
        return f"column {column} is zero"
    if abs(2 * right + delta) <= near:
        return f"column {column} has the other sign"
    return f"column {column} is off by {delta:+.3g}"


def _is_sure(fit: GateFit, name: str) -> Array:
    """The differences that rounding does not account for."""
    result: Array = np.abs(fit.by_part[name]) > np.maximum(4 * fit.noise[name], 1e-6)
    return result


def _ranges(rows: Sequence[int]) -> str:
    """Rows as text, neighbours together: `3, 8–15`."""
    parts: list[list[int]] = []
    for row in sorted(rows):
        if parts and row == parts[-1][-1] + 1:
            parts[-1].append(row)
        else:
            parts.append([row])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}–{part[-1]}" for part in parts)


def _keys(module: RecurrentModule | None, place: Place) -> Mapping[str, str]:
    """The checkpoint's keys of a cell by part."""
    if module is None:
        return PARTS
    keys = module.keys(*place)
    return {name: keys.get(word, word) for name, word in PARTS.items()}
