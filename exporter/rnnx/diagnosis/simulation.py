"""A whole model evaluated in float64, as it should be or with a fault: what a hypothesis predicts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from rnnx.diagnosis.arithmetic import PYTORCH, Arithmetic, GateWeights, gate_weights, input_sums, next_state
from rnnx.weights.weights import RecurrentWeights
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Recurrence

Feeds = Mapping[str, Array]
Outputs = dict[str, Array]

Place = tuple[int, int]
"""A cell in the stack: its layer, and its direction (0 forward, 1 backward)."""

Stack = Mapping[Place, GateWeights]


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """How sequences are led through the layers; the defaults are PyTorch's.

    `lengths`: where they are not kept, every row has the full time; `unmasked` keeps the states and leaves output as
    computed past a row's end; `backward-padding` starts the backward direction at the end of the time. `backward`: the
    backward direction runs forward, or leaves its output in its own order. `join`: how the directions' outputs are put
    together. Lengths and order hold in `layers`, joins in `joins`; None is every layer.
    """

    lengths: Literal["kept", "ignored", "unmasked", "backward-padding"] = "kept"
    backward: Literal["reversed", "forward", "left reversed"] = "reversed"
    join: Literal["halves", "swapped", "reshaped", "alternating"] = "halves"
    layers: frozenset[int] | None = None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong in a model: other weights, other arithmetic at some places, another wiring."""

    stack: Mapping[Place, GateWeights] = field(default_factory=dict)
    arithmetic: Mapping[Place, Arithmetic] = field(default_factory=dict)
    wiring: Wiring = field(default_factory=Wiring)


SOUND = Fault()


def stack_of(weights: RecurrentWeights, contract: Recurrence) -> Stack:
    """The weights of every place in float64, with the nonlinearity that only the contract knows."""
    return {
        (layer, direction): gate_weights(own, contract.nonlinearity or "tanh")
        for layer, directions in enumerate(weights.directions)
        for direction, own in enumerate(directions)
    }


def simulate(stack: Stack, contract: Recurrence, feeds: Feeds, fault: Fault = SOUND) -> Outputs:
    """The contract's outputs for the contract's inputs in float64, with a fault.

    Absent states are zeros, absent lengths the full time.
    """
    x = feeds["x"].astype(np.float64)
    sequence = x[np.newaxis] if contract.form == "step" else x.swapaxes(0, 1) if contract.batch_first else x
    time, batch = sequence.shape[:2]
    lengths = np.asarray(feeds.get("lengths", np.full(batch, time)))
    rows = contract.layers * contract.directions
    shapes = {"h0": (rows, batch, contract.projection_size), "c0": (rows, batch, contract.hidden_size)}
    h0, c0 = (
        feeds[name].astype(np.float64).reshape(shape) if name in feeds else np.zeros(shape)
        for name, shape in shapes.items()
    )
    hn, cn = np.empty_like(h0), np.empty_like(c0)
    for layer in range(contract.layers):
        wiring = fault.wiring if fault.wiring.layers is None or layer in fault.wiring.layers else Wiring()
        halves = []
        for direction in range(contract.directions):
            place, row = (layer, direction), layer * contract.directions + direction
            weights, how = fault.stack.get(place, stack[place]), fault.arithmetic.get(place, PYTORCH)
            half, hn[row], cn[row] = _run(
                weights, how, wiring, sequence, h0[row], c0[row], lengths, backward=bool(direction)
            )
            halves.append(half)
        sequence = _joined(halves, wiring)
    output = sequence.swapaxes(0, 1) if contract.batch_first else sequence
    cell = contract.form != "encoder"
    values = {"output": output, "hn": hn[0] if cell else hn, "cn": cn[0] if cell else cn}
    return {spec.name: values[spec.name] for spec in contract.outputs}


def _run(
    weights: GateWeights,
    how: Arithmetic,
    wiring: Wiring,
    x: Array,
    h: Array,
    c: Array,
    lengths: Array,
    *,
    backward: bool,
) -> tuple[Array, Array, Array]:
    """One layer in one direction over `x (T, B, I)`."""
    time = len(x)
    output = np.zeros((time, *h.shape))
    padded = wiring.lengths == "ignored" or (backward and wiring.lengths == "backward-padding")
    ends = np.full(len(h), time) if padded else lengths
    inputs = input_sums(weights, x, how)
    reverse = backward and wiring.backward != "forward"
    for t in reversed(range(time)) if reverse else range(time):
        next_h, next_c = next_state(weights, inputs[t], h, c, how)
        valid = (t < ends)[:, np.newaxis]
        h, c = np.where(valid, next_h, h), np.where(valid, next_c, c)
        output[t] = h if wiring.lengths == "unmasked" else np.where(valid, h, 0)
    if padded and wiring.lengths == "backward-padding":
        output *= (np.arange(time)[:, np.newaxis] < lengths)[..., np.newaxis]
    return output[::-1] if reverse and wiring.backward == "left reversed" else output, h, c


def _joined(halves: list[Array], wiring: Wiring) -> Array:
    """The directions' outputs `(T, B, H)` as one `(T, B, D·H)`."""
    time, batch = halves[0].shape[:2]
    match wiring.join:
        case "halves":
            return np.concatenate(halves, axis=-1)
        case "swapped":
            return np.concatenate(halves[::-1], axis=-1)
        case "reshaped":
            return np.stack(halves, axis=1).reshape(time, batch, -1)
        case "alternating":
            return np.stack(halves, axis=-1).reshape(time, batch, -1)
