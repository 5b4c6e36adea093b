"""A cell's single step: Gemm and element-wise gates, which beats the fused node at T=1."""

import numpy as np
from spox import Var

from rnnx.formulations.gates import gru_state, lstm_rows, lstm_state
from rnnx.formulations.graph import Array, GraphBuilder
from rnnx.weights import DirectionWeights, RecurrentWeights
from rnnx_runtime.contract import Contract

NAME = "gemm-gates"


def build(graph: GraphBuilder, contract: Contract, weights: RecurrentWeights, inputs: dict[str, Var]) -> dict[str, Var]:
    """The step's graph: `hn (B, H)` and, for LSTM, `cn (B, H)` from `x (B, I)`, `h0` and `c0`."""
    ((own,),) = weights.directions
    if contract.cell == "lstm":
        hn, cn = _lstm(graph, own, inputs["x"], inputs["h0"], inputs["c0"])
        return {"hn": hn, "cn": cn}
    from_x = _affine(graph, inputs["x"], "ih", own.w_ih, own.b_ih)
    from_h = _affine(graph, inputs["h0"], "hh", own.w_hh, own.b_hh)
    return {"hn": gru_state(graph, from_x, from_h, inputs["h0"], contract.hidden_size)}


def _lstm(graph: GraphBuilder, own: DirectionWeights, x: Var, h: Var, c: Var) -> tuple[Var, Var]:
    """One Gemm over x and h side by side: at batch 1 it reads the weights in one sweep."""
    rows, width = own.w_ih.shape[0], own.w_ih.shape[1] + own.w_hh.shape[1]
    joint = graph.weight("W", (width, rows), lambda: lstm_rows(np.concatenate([own.w_ih, own.w_hh], axis=1)).T)
    operands = [graph.op.concat([x, h], axis=-1), joint]
    if own.b_ih is not None:
        operands.append(graph.weight("B", (rows,), lambda: lstm_rows(summed_bias(own))))
    return lstm_state(graph, graph.op.gemm(*operands), c, own.w_hh.shape[1])


def _affine(graph: GraphBuilder, x: Var, key: str, weight: Array, bias: Array | None) -> Var:
    """`x · weightᵀ + bias` of a matrix x, the weight stored transposed."""
    operands = [x, graph.weight(f"W_{key}", weight.shape[::-1], lambda: weight.T)]
    if bias is not None:
        operands.append(graph.weight(f"B_{key}", bias.shape, lambda: bias))
    result: Var = graph.op.gemm(*operands)
    return result


def summed_bias(own: DirectionWeights) -> Array:
    """Both biases of an LSTM as one, added in float64 and rounded once."""
    if own.b_ih is None or own.b_hh is None:
        raise ValueError("a module without bias has no biases to add")
    total: Array = (own.b_ih.astype(np.float64) + own.b_hh).astype(np.float32)
    return total
