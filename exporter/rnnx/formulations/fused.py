"""Encoders as one ONNX `LSTM`, `GRU` or `RNN` node a layer.

https://onnx.ai/onnx/operators/onnx__LSTM.html, `onnx__GRU.html`, `onnx__RNN.html`. Never `layout=1`: ONNX
Runtime refuses it and TensorRT takes the batch for the time; a batch-first model is transposed inside the graph.
"""

import numpy as np
from spox import Var

from rnnx.formulations.graph import GraphBuilder
from rnnx.weights.weights import DirectionWeights, RecurrentWeights, onnx_gates
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Recurrence

NAME = "fused"


def build(
    graph: GraphBuilder, contract: Recurrence, weights: RecurrentWeights, inputs: dict[str, Var]
) -> dict[str, Var]:
    """The encoder's graph."""
    op = graph.op
    sequence = op.transpose(inputs["x"], perm=[1, 0, 2]) if contract.batch_first else inputs["x"]
    first_h, first_c = (_per_layer(graph, contract, inputs.get(name)) for name in ("h0", "c0"))
    last_h: list[Var] = []
    last_c: list[Var] = []
    for layer, directions in enumerate(weights.directions):
        parameters = _parameters(graph, contract, directions, layer)
        results = _recurrence(
            graph, contract, sequence, parameters, inputs.get("lengths"), first_h[layer], first_c[layer]
        )
        last_h.append(results[1])
        last_c += results[2:]
        is_top = layer == contract.layers - 1
        sequence = _side_by_side(graph, contract, results[0], batch_first=contract.batch_first and is_top)
    outputs = {"output": sequence, "hn": _stacked(graph, last_h)}
    return outputs | {"cn": _stacked(graph, last_c)} if contract.cell == "lstm" else outputs


def _recurrence(
    graph: GraphBuilder,
    contract: Recurrence,
    sequence: Var,
    parameters: list[Var | None],
    lengths: Var | None,
    h: Var | None,
    c: Var | None,
) -> tuple[Var, ...]:
    direction = "bidirectional" if contract.directions == 2 else "forward"
    size = contract.hidden_size
    if contract.cell == "lstm":
        return tuple(graph.op.lstm(sequence, *parameters, lengths, h, c, direction=direction, hidden_size=size))
    if contract.cell == "rnn":
        kind = {"tanh": "Tanh", "relu": "Relu"}[contract.nonlinearity or "tanh"]
        activations = [kind] * contract.directions
        return tuple(
            graph.op.rnn(
                sequence, *parameters, lengths, h, activations=activations, direction=direction, hidden_size=size
            )
        )
    return tuple(
        # PyTorch applies the reset gate after the recurrent product; ONNX's default is before it.
        graph.op.gru(sequence, *parameters, lengths, h, direction=direction, hidden_size=size, linear_before_reset=1)
    )


def _parameters(
    graph: GraphBuilder, contract: Recurrence, directions: tuple[DirectionWeights, ...], layer: int
) -> list[Var | None]:
    """The node's W, R and B: directions stacked, gates in ONNX's order."""
    kind, count = contract.cell, len(directions)

    def stacked(name: str) -> Array:
        return np.stack([onnx_gates(kind, getattr(own, name)) for own in directions])

    def biases() -> Array:
        return np.stack(
            [np.concatenate([onnx_gates(kind, b) for b in (own.b_ih, own.b_hh) if b is not None]) for own in directions]
        )

    first = directions[0]
    w = graph.weight(f"W_l{layer}", (count, *first.w_ih.shape), lambda: stacked("w_ih"))
    r = graph.weight(f"R_l{layer}", (count, *first.w_hh.shape), lambda: stacked("w_hh"))
    if first.b_ih is None:
        return [w, r, None]
    return [w, r, graph.weight(f"B_l{layer}", (count, 2 * first.b_ih.shape[0]), biases)]


def _per_layer(graph: GraphBuilder, contract: Recurrence, state: Var | None) -> list[Var | None]:
    """A state `(L·D, B, H)` as one `(D, B, H)` for each layer."""
    if state is None or contract.layers == 1:
        return [state] * contract.layers
    sizes = graph.ints(*[contract.directions] * contract.layers)
    return list(graph.op.split(state, sizes, outputs_count=contract.layers, axis=0))


def _stacked(graph: GraphBuilder, states: list[Var]) -> Var:
    result: Var = states[0] if len(states) == 1 else graph.op.concat(states, axis=0)
    return result


def _side_by_side(graph: GraphBuilder, contract: Recurrence, y: Var, *, batch_first: bool) -> Var:
    """ONNX's `Y (T, D, B, H)` as PyTorch's `(T, B, D·H)`, or `(B, T, D·H)`."""
    op = graph.op
    if contract.directions == 1 and not batch_first:
        result: Var = op.squeeze(y, graph.ints(1))
    else:
        ordered = op.transpose(y, perm=[2, 0, 1, 3] if batch_first else [0, 2, 1, 3])
        result = op.reshape(ordered, graph.ints(0, 0, contract.directions * contract.hidden_size))
    return result
