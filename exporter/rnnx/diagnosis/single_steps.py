"""What every cell of a model does in one step: its inputs and states as the backend itself showed them.

At one time step `hn` and `cn` hold every cell's next state, and `hn` of the layer below is a layer's input. So a cell
is judged by itself, whatever the cells below it do wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnnx.diagnosis.arithmetic import PYTORCH, Arithmetic, GateWeights, input_sums, next_state
from rnnx.diagnosis.prober import Prober
from rnnx.diagnosis.simulation import Place
from rnnx.parity.tolerances import products_per_sum, tolerance_for
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Recurrence


@dataclass(frozen=True, kw_only=True)
class CellSteps:
    """One step of one cell over N rows: `x (N, I)`, `h`, `c`, `next_h (N, P)`, `next_c (N, H)` where it is seen."""

    x: Array
    h: Array
    c: Array
    next_h: Array
    next_c: Array | None

    def error(self, weights: GateWeights, how: Arithmetic = PYTORCH) -> tuple[Array, Array]:
        """How far the seen states are from those of `weights`, h `(N, P)` and c `(N, H)`; zeros for a c not seen."""
        h, c = next_state(weights, input_sums(weights, self.x, how), self.h, self.c, how)
        return np.abs(self.next_h - h), np.zeros_like(c) if self.next_c is None else np.abs(self.next_c - c)


def observe_steps(
    prober: Prober, rows: int, *, scale: float = 1.0, seed: int = 0
) -> tuple[dict[Place, CellSteps], str]:
    """One step of each cell that can be seen, over `rows` random inputs of deviation `scale`; else what was said."""
    contract = prober.contract
    chance = np.random.default_rng([seed, rows])
    time = contract.steps or 1
    x = (chance.standard_normal((time, rows, contract.input_size)) * scale).astype(np.float32)
    places = contract.layers * contract.directions
    h = chance.uniform(-1, 1, (places, rows, contract.projection_size)).astype(np.float32)
    # away from zero, so that what a forget gate does to c is seen
    shape = (places, rows, contract.hidden_size)
    c = (chance.uniform(0.5, 1, shape) * chance.choice([-1, 1], shape)).astype(np.float32)
    if not contract.state_inputs:
        h, c = np.zeros_like(h), np.zeros_like(c)
    answer = prober.ask_rows(feeds_of(contract, x, h, c))
    if not answer:
        return {}, answer.failure
    found = _steps(prober, x[0], h, c, answer.values)
    if not contract.state_inputs:
        found = _with_second_steps(prober, x[0], x[0][::-1], found, answer.values)
    return {place: steps for place, steps in found.items() if _is_finite(steps)}, ""


def feeds_of(contract: Recurrence, x: Array, h: Array, c: Array) -> dict[str, Array]:
    """The contract's inputs from `x (T, B, I)` and the states `(L·D, B, P)`, `(L·D, B, H)`; rows have the full time."""
    time, batch = x.shape[:2]
    cell = contract.form != "encoder"
    values = {
        "x": x[0] if contract.form == "step" else x.swapaxes(0, 1) if contract.batch_first else x,
        "h0": h[0] if cell else h,
        "c0": c[0] if cell else c,
        "lengths": np.full(batch, time, np.int32),
    }
    return {spec.name: np.ascontiguousarray(values[spec.name]) for spec in contract.inputs}


def rounding_limits(
    contract: Recurrence, precision: str, weights: GateWeights, steps: CellSteps
) -> tuple[float, float]:
    """The largest errors of the next h and c that are rounding, by the precision's tolerance for one step."""
    arrays: dict[str, Any] = {
        name: value.astype(np.float32) for name, value in vars(weights).items() if isinstance(value, np.ndarray)
    }
    single = replace(weights, **arrays)
    exact = next_state(weights, input_sums(weights, steps.x.astype(np.float64)), steps.h, steps.c)
    x, h, c = (value.astype(np.float32) for value in (steps.x, steps.h, steps.c))
    rounded = next_state(single, input_sums(single, x), h, c)
    size, tolerance = float(np.sqrt(np.mean(np.square(steps.x)))), tolerance_for(precision)
    limits = [
        tolerance.limit(
            float(np.abs(one - other).max()), products_per_sum(contract), 1, max(size, float(np.abs(one).max()))
        )
        for one, other in zip(exact, rounded, strict=True)
    ]
    return limits[0], limits[1]


def _steps(prober: Prober, x: Array, h: Array, c: Array, values: Mapping[str, Array]) -> dict[Place, CellSteps]:
    contract = prober.contract
    next_h, next_c = _seen_states(contract, values)
    found: dict[Place, CellSteps] = {}
    below: Array | None = x
    for layer in range(contract.layers):
        own: list[Array] = []
        for direction in range(contract.directions):
            row = layer * contract.directions + direction
            if row in next_h and below is not None:
                own.append(next_h[row])
                found[layer, direction] = CellSteps(
                    x=below.astype(np.float64), h=h[row], c=c[row], next_h=next_h[row], next_c=next_c.get(row)
                )
        below = np.concatenate(own, -1) if len(own) == contract.directions else None
    return found


def _seen_states(contract: Recurrence, values: Mapping[str, Array]) -> tuple[dict[int, Array], dict[int, Array]]:
    """h and c after the first step by row of the state, as far as an output shows them."""
    places, rows = contract.layers * contract.directions, range(contract.layers * contract.directions)
    if contract.form == "unrolled" and contract.steps != 1:
        return ({0: values["output"][0]} if "output" in values else {}), {}
    widths = {"hn": contract.projection_size, "cn": contract.hidden_size}
    h, c = (
        dict(zip(rows, values[name].reshape(places, -1, width), strict=True)) if name in values else {}
        for name, width in widths.items()
    )
    if not h and "output" in values:
        output = values["output"][:, 0] if contract.batch_first else values["output"][0]
        halves = np.split(output, contract.directions, axis=-1)
        h = dict(zip(rows[-contract.directions :], halves, strict=True))
    return h, c


def _with_second_steps(
    prober: Prober, first: Array, second: Array, found: dict[Place, CellSteps], values: Mapping[str, Array]
) -> dict[Place, CellSteps]:
    """A model that starts from zeros is seen in a second step too, where its state is no longer zero.

    That is possible for the lowest layer, and for every layer of a stack without a backward direction.
    """
    contract = prober.contract
    lead = (contract.layers * contract.directions, len(first))
    zeros = [np.zeros((*lead, width), np.float32) for width in (contract.projection_size, contract.hidden_size)]
    both = prober.ask_rows(feeds_of(contract, np.stack([first, second]), *zeros))
    last = prober.ask_rows(feeds_of(contract, second[np.newaxis], *zeros))
    if not (both and last and {"hn", "cn"} >= {spec.name for spec in contract.outputs} - {"output"}):
        return found
    after, c_after = _seen_states(contract, both.values)
    result = dict(found)
    for (layer, direction), steps in found.items():
        row = layer * contract.directions + direction
        if (layer and contract.directions == 2) or row not in after:
            continue
        h, c = _seen_states(contract, last.values if direction else values)
        x = (first if direction else second) if layer == 0 else after[row - 1]
        if contract.cell == "lstm" and row not in c:
            continue
        result[layer, direction] = CellSteps(
            x=np.concatenate([steps.x, x.astype(np.float64)]),
            h=np.concatenate([steps.h, h[row]]),
            c=np.concatenate([steps.c, c.get(row, np.zeros_like(h[row]))]),
            next_h=np.concatenate([steps.next_h, after[row]]),
            next_c=np.concatenate([steps.next_c, c_after[row]]) if steps.next_c is not None else None,
        )
    return result


def _is_finite(steps: CellSteps) -> bool:
    return bool(np.isfinite(steps.next_h).all() and (steps.next_c is None or np.isfinite(steps.next_c).all()))
