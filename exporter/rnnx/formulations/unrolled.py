"""A decoder's N steps written out, all inputs given: `for x in X: h, c = cell(x, (h, c))`.

The input projection of all steps is one product before the first step; each step then has the recurrent product alone.
The state keeps a leading axis of one inside the graph, so that outputs join along it without reshaping.
"""

from spox import Var

from rnnx.formulations.gates import gru_state, lstm_rows, lstm_state, rnn_state
from rnnx.formulations.graph import GraphBuilder
from rnnx.formulations.step import summed_bias
from rnnx.weights.weights import RecurrentWeights
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Recurrence

NAME = "unrolled-hoisted"


def build(
    graph: GraphBuilder, contract: Recurrence, weights: RecurrentWeights, inputs: dict[str, Var]
) -> dict[str, Var]:
    """The unrolled decoder's graph: `output (N, B, H)`, `hn` and `cn (B, H)` from `x (N, B, I)`, `h0` and `c0`."""
    op, hidden, steps = graph.op, contract.hidden_size, contract.steps or 1
    ((own,),) = weights.directions
    lstm, gru = contract.cell == "lstm", contract.cell == "gru"

    def rows(array: Array) -> Array:
        return lstm_rows(array) if lstm else array

    def product(x: Var, name: str, weight: Array) -> Var:
        result: Var = op.matmul(x, graph.weight(name, weight.shape[::-1], lambda: rows(weight).T))
        return result

    recurrent_weight = graph.weight("W_hh", own.w_hh.shape[::-1], lambda: rows(own.w_hh).T)
    projected = product(inputs["x"], "W_ih", own.w_ih)
    recurrent_bias = None
    if own.b_ih is not None and own.b_hh is not None:
        input_bias, b_hh = own.b_ih, own.b_hh
        bias = graph.weight("B_ih", input_bias.shape, lambda: input_bias if gru else rows(summed_bias(own)))
        projected = op.add(projected, bias)
        recurrent_bias = graph.weight("B_hh", b_hh.shape, lambda: b_hh) if gru else None

    h = op.unsqueeze(inputs["h0"], graph.ints(0))
    c = op.unsqueeze(inputs["c0"], graph.ints(0)) if lstm else h
    outputs = []
    for inputs_now in _per_step(graph, projected, steps):
        recurrent = op.matmul(h, recurrent_weight)
        if lstm:
            h, c = lstm_state(graph, op.add(inputs_now, recurrent), c, hidden)
        elif not gru:
            h = rnn_state(graph, op.add(inputs_now, recurrent), contract.nonlinearity)
        else:
            recurrent = recurrent if recurrent_bias is None else op.add(recurrent, recurrent_bias)
            h = gru_state(graph, inputs_now, recurrent, h, hidden)
        outputs.append(h)
    results = {"output": op.concat(outputs, axis=0), "hn": op.squeeze(h, graph.ints(0))}
    return results | {"cn": op.squeeze(c, graph.ints(0))} if lstm else results


def _per_step(graph: GraphBuilder, projected: Var, steps: int) -> list[Var]:
    if steps == 1:
        return [projected]
    return list(graph.op.split(projected, graph.ints(*[1] * steps), outputs_count=steps, axis=0))
