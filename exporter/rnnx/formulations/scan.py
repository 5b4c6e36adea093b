"""Encoders as one ONNX `Scan` a layer and direction, for what the `LSTM` operator cannot say: a projection of `h`.

https://onnx.ai/onnx/operators/onnx__Scan.html; formulas as `nn.LSTM` with `proj_size` has them:
https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html. The input projection of all time steps is one
product before the loop. With lengths a step past a row's last changes no state and puts out zero, so that the backward
direction, which comes to the padding first, starts at each row's own last step.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from spox import Var

from rnnx.formulations.gates import lstm_rows, lstm_state
from rnnx.formulations.graph import GraphBuilder, size_of_axis, zero_state
from rnnx.formulations.scan_node import scan
from rnnx.formulations.step import summed_bias
from rnnx.weights.weights import DirectionWeights, RecurrentWeights
from rnnx_runtime.contract import Recurrence

NAME = "scan"


def build(
    graph: GraphBuilder, contract: Recurrence, weights: RecurrentWeights, inputs: dict[str, Var]
) -> dict[str, Var]:
    """The encoder's graph."""
    op = graph.op
    sequence = op.transpose(inputs["x"], perm=[1, 0, 2]) if contract.batch_first else inputs["x"]
    valid = _valid_steps(graph, sequence, inputs["lengths"]) if "lengths" in inputs else None
    first_h = _per_direction(graph, contract, inputs.get("h0"), sequence, contract.projection_size)
    first_c = _per_direction(graph, contract, inputs.get("c0"), sequence, contract.hidden_size)
    last: list[tuple[Var, Var]] = []
    for layer, directions in enumerate(weights.directions):
        halves = []
        for direction, own in enumerate(directions):
            place = _Place(layer=layer, reverse=direction == 1)
            state = (first_h[len(last)], first_c[len(last)])
            half, *state_after = _run_direction(graph, own, place, sequence, state, valid)
            halves.append(half)
            last.append((state_after[0], state_after[1]))
        sequence = halves[0] if len(halves) == 1 else op.concat(halves, axis=-1)
    output = op.transpose(sequence, perm=[1, 0, 2]) if contract.batch_first else sequence
    return {"output": output, "hn": _stacked(graph, [h for h, _ in last]), "cn": _stacked(graph, [c for _, c in last])}


@dataclass(frozen=True, kw_only=True)
class _Place:
    layer: int
    reverse: bool

    def named(self, weight: str) -> str:
        return f"{weight}_l{self.layer}{'_reverse' if self.reverse else ''}"


def _run_direction(
    graph: GraphBuilder, own: DirectionWeights, place: _Place, sequence: Var, first: tuple[Var, Var], valid: Var | None
) -> tuple[Var, Var, Var]:
    """One layer in one direction over `(T, B, I)`: its output `(T, B, P)` and last h and c."""
    states = dict(zip("hc", first, strict=True))
    scanned = {"sums": _projected(graph, own, place, sequence)}
    if valid is not None:
        scanned["valid"] = valid
    held = _recurrent_weights(graph, own, place)
    hidden = own.w_ih.shape[0] // 4
    last, output = scan(
        lambda values: _step(graph, values, hidden), states=states, scanned=scanned, held=held, reverse=place.reverse
    )
    return output, last["h"], last["c"]


def _step(graph: GraphBuilder, values: Mapping[str, Var], hidden: int) -> tuple[dict[str, Var], Var]:
    """The next h and c and the output; past its length a row keeps its state and puts out zero."""
    op, h, c = graph.op, values["h"], values["c"]
    next_h, next_c = lstm_state(graph, op.add(values["sums"], op.matmul(h, values["w_hh"])), c, hidden)
    if "w_hr" in values:
        next_h = op.matmul(next_h, values["w_hr"])
    if "valid" not in values:
        return {"h": next_h, "c": next_c}, next_h
    valid = values["valid"]
    kept = {"h": op.where(valid, next_h, h), "c": op.where(valid, next_c, c)}
    return kept, op.where(valid, next_h, op.constant(value=np.zeros((), np.float32)))


def _recurrent_weights(graph: GraphBuilder, own: DirectionWeights, place: _Place) -> dict[str, Var]:
    held = {"w_hh": graph.weight(place.named("W_hh"), own.w_hh.shape[::-1], lambda: lstm_rows(own.w_hh).T)}
    if own.w_hr is not None:
        projection = own.w_hr
        held["w_hr"] = graph.weight(place.named("W_hr"), projection.shape[::-1], lambda: projection.T)
    return held


def _projected(graph: GraphBuilder, own: DirectionWeights, place: _Place, sequence: Var) -> Var:
    """What the input adds to the gates' sums, both biases with it, `(T, B, 4·H)`."""
    w_ih = graph.weight(place.named("W_ih"), own.w_ih.shape[::-1], lambda: lstm_rows(own.w_ih).T)
    product: Var = graph.op.matmul(sequence, w_ih)
    if own.b_ih is None:
        return product
    bias = graph.weight(place.named("B"), own.b_ih.shape, lambda: lstm_rows(summed_bias(own)))
    result: Var = graph.op.add(product, bias)
    return result


def _valid_steps(graph: GraphBuilder, sequence: Var, lengths: Var) -> Var:
    """Whether a step lies within its row's length, `(T, B, 1)`."""
    op = graph.op
    zero, one = (op.constant(value=np.array(value, np.int64)) for value in (0, 1))
    time = size_of_axis(graph, sequence, zero)
    steps = op.unsqueeze(op.range(zero, time, one), graph.ints(1, 2))
    rows = op.unsqueeze(op.cast(lengths, to=np.int64), graph.ints(0, 2))
    result: Var = op.less(steps, rows)
    return result


def _per_direction(
    graph: GraphBuilder, contract: Recurrence, state: Var | None, sequence: Var, width: int
) -> list[Var]:
    """A state `(L·D, B, width)` as one `(B, width)` for each layer and direction; zeros where there is none."""
    rows = contract.layers * contract.directions
    if state is None:
        return [zero_state(graph, sequence, 1, width)] * rows
    axis = graph.ints(0)
    if rows == 1:
        return [graph.op.squeeze(state, axis)]
    parts = graph.op.split(state, graph.ints(*[1] * rows), outputs_count=rows, axis=0)
    return [graph.op.squeeze(part, axis) for part in parts]


def _stacked(graph: GraphBuilder, states: list[Var]) -> Var:
    op = graph.op
    rows = [op.unsqueeze(state, graph.ints(0)) for state in states]
    result: Var = rows[0] if len(rows) == 1 else op.concat(rows, axis=0)
    return result
