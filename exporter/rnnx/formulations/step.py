"""A cell's single step: Gemm and element-wise gates, which beats the fused node at T=1."""

from collections.abc import Callable

import numpy as np
from spox import Var

from rnnx.formulations.gates import gru_state, lstm_rows, lstm_state, rnn_state
from rnnx.formulations.graph import GraphBuilder, zero_state
from rnnx.weights.weights import DirectionWeights, RecurrentWeights
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Recurrence

NAME = "gemm-gates"


def build(
    graph: GraphBuilder, contract: Recurrence, weights: RecurrentWeights, inputs: dict[str, Var]
) -> dict[str, Var]:
    """The step's graph: `hn (B, H)` and, for LSTM, `cn (B, H)` from `x (B, I)`, `h0` and `c0`."""
    ((own,),) = weights.directions
    x, hidden = inputs["x"], contract.hidden_size
    h, c = (inputs.get(name) for name in ("h0", "c0"))
    h = zero_state(graph, x, 0, hidden) if h is None else h
    if contract.cell == "lstm" and c is None:
        c = zero_state(graph, x, 0, hidden)
    hn, *cn = next_states(graph, contract, own, x, h, c)
    return {"hn": hn} | ({"cn": cn[0]} if cn else {})


def next_states(
    graph: GraphBuilder, contract: Recurrence, own: DirectionWeights, x: Var, h: Var, c: Var | None, suffix: str = ""
) -> tuple[Var, ...]:
    """The next h `(B, P)`, and of an LSTM the next c `(B, H)`, from `x (B, I)`; the weights' names end in `suffix`."""
    if contract.cell == "rnn":
        return (rnn_state(graph, _joint_sums(graph, own, x, h, np.asarray, suffix), contract.nonlinearity),)
    if c is not None:
        hn, cn = lstm_state(graph, _joint_sums(graph, own, x, h, lstm_rows, suffix), c, contract.hidden_size)
        return _projected(graph, own, hn, suffix), cn
    from_x = _affine(graph, x, f"ih{suffix}", own.w_ih, own.b_ih)
    from_h = _affine(graph, h, f"hh{suffix}", own.w_hh, own.b_hh)
    return (gru_state(graph, from_x, from_h, h, contract.hidden_size),)


def _projected(graph: GraphBuilder, own: DirectionWeights, h: Var, suffix: str) -> Var:
    w_hr = own.w_hr
    if w_hr is None:
        return h
    result: Var = graph.op.matmul(h, graph.weight(f"W_hr{suffix}", w_hr.shape[::-1], lambda: w_hr.T))
    return result


def _joint_sums(
    graph: GraphBuilder, own: DirectionWeights, x: Var, h: Var, order: Callable[[Array], Array], suffix: str
) -> Var:
    """One Gemm over x and h side by side: at batch 1 it reads the weights in one sweep."""
    rows, width = own.w_ih.shape[0], own.w_ih.shape[1] + own.w_hh.shape[1]
    joint = graph.weight(f"W{suffix}", (width, rows), lambda: order(np.concatenate([own.w_ih, own.w_hh], axis=1)).T)
    operands = [graph.op.concat([x, h], axis=-1), joint]
    if own.b_ih is not None:
        operands.append(graph.weight(f"B{suffix}", (rows,), lambda: order(summed_bias(own))))
    result: Var = graph.op.gemm(*operands)
    return result


def _affine(graph: GraphBuilder, x: Var, key: str, weight: Array, bias: Array | None) -> Var:
    """`x · weightᵀ + bias` of a matrix x, the weight stored transposed."""
    operands = [x, graph.weight(f"W_{key}", weight.shape[::-1], lambda: weight.T)]
    if bias is not None:
        operands.append(graph.weight(f"B_{key}", bias.shape, lambda: bias))
    result: Var = graph.op.gemm(*operands)
    return result


def summed_bias(own: DirectionWeights) -> Array:
    """Both biases of an LSTM or an RNN as one, added in float64 and rounded once."""
    if own.b_ih is None or own.b_hh is None:
        raise ValueError("a module without bias has no biases to add")
    total: Array = (own.b_ih.astype(np.float64) + own.b_hh).astype(np.float32)
    return total
