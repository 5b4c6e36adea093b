"""The recurrences in plain NumPy, in any precision: the oracle where PyTorch is not installed.

Formulas: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html, `GRU.html` and `RNN.html`.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import DTypeLike

from rnnx.weights.weights import DirectionWeights, RecurrentWeights
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Recurrence


def evaluate(
    weights: RecurrentWeights, contract: Recurrence, feeds: Mapping[str, Array], dtype: DTypeLike = np.float64
) -> dict[str, Array]:
    """The contract's outputs for the contract's inputs, computed in `dtype`.

    Args:
        weights: the module's weights.
        contract: says form, batch order and which inputs there are.
        feeds: the inputs by name; absent states are zeros, absent lengths are the full time.
        dtype: the precision of every operation.
    """
    x = feeds["x"].astype(dtype)
    sequence = x[np.newaxis] if contract.form == "step" else x.swapaxes(0, 1) if contract.batch_first else x
    time, batch = sequence.shape[:2]
    lengths = np.asarray(feeds.get("lengths", np.full(batch, time)))
    rows = contract.layers * contract.directions
    widths = {"h0": contract.projection_size, "c0": contract.hidden_size}
    h0, c0 = (_first_state(feeds, name, (rows, batch, width), dtype) for name, width in widths.items())
    hn, cn = np.empty_like(h0), np.empty_like(c0)
    for layer, directions in enumerate(weights.directions):
        halves = []
        for direction, own in enumerate(directions):
            row = layer * contract.directions + direction
            run = _run_direction(own, contract, sequence, h0[row], c0[row], lengths, reverse=direction == 1)
            half, hn[row], cn[row] = run
            halves.append(half)
        sequence = np.concatenate(halves, axis=-1)
    return _named(contract, sequence, hn, cn)


def _first_state(feeds: Mapping[str, Array], name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    return feeds[name].astype(dtype).reshape(shape) if name in feeds else np.zeros(shape, dtype)


def _named(contract: Recurrence, sequence: Array, hn: Array, cn: Array) -> dict[str, Array]:
    output = sequence.swapaxes(0, 1) if contract.batch_first else sequence
    cell = contract.form != "encoder"
    values = {"output": output, "hn": hn[0] if cell else hn, "cn": cn[0] if cell else cn}
    return {spec.name: np.ascontiguousarray(values[spec.name]) for spec in contract.outputs}


def _run_direction(
    weights: DirectionWeights, contract: Recurrence, x: Array, h: Array, c: Array, lengths: Array, *, reverse: bool
) -> tuple[Array, Array, Array]:
    """One layer in one direction over `x (T, B, I)`; rows past their length keep their state and give zeros."""
    time, batch = x.shape[:2]
    output = np.zeros((time, batch, h.shape[-1]), x.dtype)
    inputs = _affine(x, weights.w_ih, weights.b_ih)
    w_hh = weights.w_hh.astype(x.dtype, copy=False)
    valid = (np.arange(time)[:, np.newaxis] < lengths)[..., np.newaxis]
    next_state = _stepper(weights, contract)
    for t in reversed(range(time)) if reverse else range(time):
        recurrent = _affine(h, w_hh, weights.b_hh)
        next_h, next_c = next_state(inputs[t], recurrent, h, c)
        h, c = np.where(valid[t], next_h, h), np.where(valid[t], next_c, c)
        output[t] = h
    output[~valid[..., 0]] = 0
    return output, h, c


def _stepper(weights: DirectionWeights, contract: Recurrence) -> Callable[..., tuple[Array, Array]]:
    """The next h and c of a cell from the input's and the state's sums and the last h and c."""
    projection = weights.w_hr
    if contract.cell == "gru":
        return lambda inputs, recurrent, h, c: (_gru(inputs, recurrent, h), c)
    if contract.cell == "rnn":
        activation = _relu if contract.nonlinearity == "relu" else np.tanh
        return lambda inputs, recurrent, h, c: (activation(inputs + recurrent), c)
    if projection is None:
        return lambda inputs, recurrent, h, c: _lstm(inputs, recurrent, c)

    def projected(inputs: Array, recurrent: Array, h: Array, c: Array) -> tuple[Array, Array]:
        h, c = _lstm(inputs, recurrent, c)
        return _affine(h, projection, None), c

    return projected


def _affine(x: Array, weight: Array, bias: Array | None) -> Array:
    rows = x.reshape(-1, x.shape[-1])  # one product for all time steps
    product = (rows @ weight.astype(x.dtype, copy=False).T).reshape(*x.shape[:-1], -1)
    result: Array = product if bias is None else product + bias.astype(x.dtype, copy=False)
    return result


def _lstm(inputs: Array, recurrent: Array, c: Array) -> tuple[Array, Array]:
    sums, hidden = inputs + recurrent, c.shape[-1]
    gates = _sigmoid(sums)  # the candidate's columns too: one pass takes less time than three over columns
    i, f, o = (gates[:, gate * hidden : (gate + 1) * hidden] for gate in (0, 1, 3))
    c = f * c + i * np.tanh(sums[:, 2 * hidden : 3 * hidden])
    return o * np.tanh(c), c


def _gru(inputs: Array, recurrent: Array, h: Array) -> Array:
    """The reset gate applies after the recurrent product, bias included (`linear_before_reset=1` in ONNX)."""
    hidden = h.shape[-1]
    gates = _sigmoid(inputs[:, : 2 * hidden] + recurrent[:, : 2 * hidden])
    r, z = gates[:, :hidden], gates[:, hidden:]
    n = np.tanh(inputs[:, 2 * hidden :] + r * recurrent[:, 2 * hidden :])
    result: Array = (1 - z) * n + z * h
    return result


def _relu(x: Array) -> Array:
    result: Array = np.maximum(x, 0)
    return result


def _sigmoid(x: Array) -> Array:
    """The logistic function by way of tanh, which neither overflows nor loses small values."""
    result: Array = 0.5 * (np.tanh(0.5 * x) + 1)
    return result
