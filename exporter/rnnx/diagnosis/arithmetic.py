"""One step of a cell in float64, as PyTorch computes it or as a backend that is wrong in a known way does.

Formulas: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html, `GRUCell.html` and `RNNCell.html`;
a GRU whose reset gate comes before the recurrent product: https://onnx.ai/onnx/operators/onnx__GRU.html,
`linear_before_reset=0`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from rnnx.diagnosis.rounding import Operand, Rounding, saturated_product
from rnnx.weights.weights import DirectionWeights
from rnnx_runtime.array_type import Array


@dataclass(frozen=True, kw_only=True)
class GateWeights:
    """One layer in one direction by gate, in PyTorch's order: `w_ih (G, H, I)`, `w_hh (G, H, P)`, biases `(G, H)`.

    `w_hr (1, P, H)` projects an LSTM's h; None without projection, where P = H. `nonlinearity` is the function of the
    candidate, which a plain RNN may have other than tanh.
    """

    w_ih: Array
    w_hh: Array
    b_ih: Array
    b_hh: Array
    w_hr: Array | None = None
    nonlinearity: str = "tanh"


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """How a step computes; the defaults are PyTorch's.

    `gate`, `candidate` and `output` name functions of `ACTIVATIONS`: of the gates, of g or n (None: the weights' own
    nonlinearity), and of c. `clip` bounds what goes into the gates and the candidate, `cell_clip` the cell state (the
    state of a GRU or an RNN), `output_clip` the cell state on its way into its tanh alone.
    """

    reset_before: bool = False
    gate: str = "sigmoid"
    candidate: str | None = None
    output: str = "tanh"
    clip: float = float("inf")
    cell_clip: float = float("inf")
    output_clip: float = float("inf")
    rounding: Rounding | None = None

    def rounded(self, operand: Operand, value: Array) -> Array:
        """A value of the step, rounded where the arithmetic rounds it."""
        return self.rounding.of(operand, value) if self.rounding else value


PYTORCH = Arithmetic()


def gate_weights(weights: DirectionWeights, nonlinearity: str = "tanh") -> GateWeights:
    """Weights by gate in float64; without bias, zeros."""
    w_hr = weights.w_hr
    hidden = weights.w_hh.shape[1] if w_hr is None else w_hr.shape[1]

    def by_gate(array: Array) -> Array:
        return array.astype(np.float64).reshape(-1, hidden, *array.shape[1:])

    none = np.zeros(weights.w_hh.shape[0])
    b_ih, b_hh = (none if bias is None else bias for bias in (weights.b_ih, weights.b_hh))
    return GateWeights(
        w_ih=by_gate(weights.w_ih),
        w_hh=by_gate(weights.w_hh),
        b_ih=by_gate(b_ih),
        b_hh=by_gate(b_hh),
        w_hr=None if w_hr is None else w_hr.astype(np.float64)[np.newaxis],
        nonlinearity=nonlinearity,
    )


def product(x: Array, weight: Array) -> Array:
    """`x (…, K)` times a weight `(G, H, K)` transposed: `(…, G, H)`."""
    gates, hidden, width = weight.shape
    result: Array = (x.reshape(-1, width) @ weight.reshape(-1, width).T).reshape(*x.shape[:-1], gates, hidden)
    return result


def input_sums(weights: GateWeights, x: Array, arithmetic: Arithmetic = PYTORCH) -> Array:
    """What the input gives each gate, bias included: `(…, G, H)` from `x (…, I)`."""
    return _rounded_product("inputs", x, weights.w_ih, arithmetic) + weights.b_ih


def next_state(
    weights: GateWeights, inputs: Array, h: Array, c: Array, arithmetic: Arithmetic = PYTORCH
) -> tuple[Array, Array]:
    """The state after one step from the input's sums `(B, G, H)` and h `(B, P)`, c `(B, H)`; c is an LSTM's."""
    recurrent = _rounded_product("states", h, weights.w_hh, arithmetic) + weights.b_hh
    return state_from_sums(weights, inputs, recurrent, h, c, arithmetic)


def state_from_sums(
    weights: GateWeights, inputs: Array, recurrent: Array, h: Array, c: Array, arithmetic: Arithmetic = PYTORCH
) -> tuple[Array, Array]:
    """The state after one step from what the input and the state give each gate, `(B, G, H)` both."""
    match weights.w_hh.shape[0]:
        case 1:
            return _rnn(weights, inputs + recurrent, arithmetic), c
        case 3:
            return _gru(weights, inputs, recurrent, h, arithmetic), c
    h, c = _lstm(inputs + recurrent, c, arithmetic)
    return h if weights.w_hr is None else _rounded_product("states", h, weights.w_hr, arithmetic)[:, 0], c


def _rounded_product(operand: Operand, x: Array, weight: Array, how: Arithmetic) -> Array:
    result: Array
    if how.rounding and how.rounding.pairs_saturate:
        width = x.shape[-1]
        flat = saturated_product(x.reshape(-1, width), weight.reshape(-1, width))
        result = flat.reshape(*x.shape[:-1], *weight.shape[:2])
    else:
        result = product(how.rounded(operand, x), weight)
    return result


def _lstm(sums: Array, c: Array, how: Arithmetic) -> tuple[Array, Array]:
    sums = np.clip(how.rounded("gates", sums), -how.clip, how.clip)
    gate = ACTIVATIONS[how.gate]
    i, f, o = (how.rounded("gates", gate(sums[:, place])) for place in (0, 1, 3))
    candidate = how.rounded("gates", ACTIVATIONS[how.candidate or "tanh"](sums[:, 2]))
    c = how.rounded("cell", f * how.rounded("carried", c) + i * candidate)
    c = np.clip(c, -how.cell_clip, how.cell_clip)
    seen = np.clip(c, -how.output_clip, how.output_clip)
    return how.rounded("gates", o * ACTIVATIONS[how.output](seen)), c


def _gru(weights: GateWeights, inputs: Array, recurrent: Array, h: Array, how: Arithmetic) -> Array:
    gate = ACTIVATIONS[how.gate]
    sums = np.clip(how.rounded("gates", inputs[:, :2] + recurrent[:, :2]), -how.clip, how.clip)
    r, z = (how.rounded("gates", gate(sums[:, place])) for place in (0, 1))
    if how.reset_before:
        last = inputs[:, 2] + product(r * h, weights.w_hh[2:])[:, 0] + weights.b_hh[2]
    else:
        last = inputs[:, 2] + r * recurrent[:, 2]
    candidate = ACTIVATIONS[how.candidate or "tanh"]
    n = how.rounded("gates", candidate(np.clip(how.rounded("gates", last), -how.clip, how.clip)))
    result = how.rounded("cell", (1 - z) * n + z * how.rounded("carried", h))
    return np.clip(result, -how.cell_clip, how.cell_clip)


def _rnn(weights: GateWeights, sums: Array, how: Arithmetic) -> Array:
    sums = np.clip(how.rounded("gates", sums[:, 0]), -how.clip, how.clip)
    result = how.rounded("cell", ACTIVATIONS[how.candidate or weights.nonlinearity](sums))
    return np.clip(result, -how.cell_clip, how.cell_clip)


def sigmoid(x: Array) -> Array:
    """The logistic function by way of tanh, which does not overflow."""
    result: Array = 0.5 * (np.tanh(0.5 * x) + 1)
    return result


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "hard sigmoid (slope 1/5)": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "hard sigmoid (slope 1/6)": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard tanh": lambda x: np.clip(x, -1, 1),
    "relu": lambda x: np.maximum(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "zero": np.zeros_like,
    "identity": lambda x: x,
}
"""Activation functions by name: PyTorch's two, and what a graph may have in their place."""
