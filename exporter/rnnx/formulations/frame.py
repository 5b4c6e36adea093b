"""Encoders that are given one frame and no more, as a cell's step for each layer and direction.

At T=1 Gemm and element-wise gates beat the fused node, and TensorRT builds them inside of a Scan, where it refuses an
`LSTM` node.
"""

from collections.abc import Sequence

from spox import Var

from rnnx.formulations.graph import GraphBuilder, zero_state
from rnnx.formulations.step import next_states
from rnnx.weights.weights import RecurrentWeights
from rnnx_runtime.contract import Recurrence

NAME = "frame"


def build(
    graph: GraphBuilder, contract: Recurrence, weights: RecurrentWeights, inputs: dict[str, Var]
) -> dict[str, Var]:
    """The graph of one frame, `x (1, B, I)`: both directions of a layer read it alone."""
    op, time = graph.op, graph.ints(1 if contract.batch_first else 0)
    frame = op.squeeze(inputs["x"], time)
    first_h = _per_direction(graph, contract, inputs.get("h0"), frame, contract.projection_size)
    first_c: Sequence[Var | None] = [None] * len(first_h)
    if contract.cell == "lstm":
        first_c = _per_direction(graph, contract, inputs.get("c0"), frame, contract.hidden_size)
    last: list[tuple[Var, ...]] = []
    for layer, directions in enumerate(weights.directions):
        for direction, own in enumerate(directions):
            suffix = f"_l{layer}{'_reverse' if direction else ''}"
            place = len(last)
            last.append(next_states(graph, contract, own, frame, first_h[place], first_c[place], suffix))
        halves = [states[0] for states in last[-len(directions) :]]
        frame = halves[0] if len(halves) == 1 else op.concat(halves, axis=-1)
    names = ("hn", "cn") if contract.cell == "lstm" else ("hn",)
    stacked = {name: _stacked(graph, list(states)) for name, states in zip(names, zip(*last, strict=True), strict=True)}
    return {"output": op.unsqueeze(frame, time), **stacked}


def _per_direction(graph: GraphBuilder, contract: Recurrence, state: Var | None, frame: Var, width: int) -> list[Var]:
    """A state `(L·D, B, width)` as one `(B, width)` for each layer and direction; zeros where none is given."""
    op, count = graph.op, contract.layers * contract.directions
    if state is None:
        return [zero_state(graph, frame, 0, width)] * count
    parts = [state] if count == 1 else op.split(state, graph.ints(*[1] * count), outputs_count=count, axis=0)
    return [op.squeeze(part, graph.ints(0)) for part in parts]


def _stacked(graph: GraphBuilder, states: list[Var]) -> Var:
    op = graph.op
    parts = [op.unsqueeze(state, graph.ints(0)) for state in states]
    result: Var = parts[0] if len(parts) == 1 else op.concat(parts, axis=0)
    return result
