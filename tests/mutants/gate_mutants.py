"""Mutants of a cell's own step: gate order, reset gate, biases, directions, transposes, clips and activations."""

from collections.abc import Sequence

import numpy as np
import onnx
from tests.mutants.edits import Array, Change, attribute, node, nodes, together, weights
from tests.mutants.mutant import Edit, Mutant
from tests.mutants.sources import (
    GRU,
    GRU_2_BI,
    GRU_3,
    GRU_BI,
    GRU_STEP,
    GRU_UNROLLED,
    GRU_ZERO_START,
    LSTM,
    LSTM_2,
    LSTM_2_BI,
    LSTM_BI,
    LSTM_STEP,
    LSTM_UNROLLED,
    LSTM_ZERO_START,
)  # fmt: skip


def blocks(order: Sequence[int], axis: int = 1, count: int | None = None) -> Change:
    """Gate blocks along an axis in another order; `count` where the axis holds several sets of gates, as B does."""

    def change(values: Array) -> Array:
        sets = np.split(values, (count or len(order)) // len(order), axis)
        parts = [np.split(one, len(order), axis)[place] for one in sets for place in order]
        return np.concatenate(parts, axis)

    return change


def _reordered(order: Sequence[int], layer: str = "") -> Edit:
    """Weights and biases of recurrent nodes, gates in another order."""
    return together(
        weights(f"W_l{layer}", blocks(order)),
        weights(f"R_l{layer}", blocks(order)),
        weights(f"B_l{layer}", blocks(order, count=2 * len(order))),
    )


def half(which: int, change: Change) -> Change:
    """Change one half of B: the input's (0) or the recurrent (1)."""

    def changed(bias: Array) -> Array:
        parts = np.split(bias, 2, axis=-1)
        parts[which] = change(parts[which])
        return np.concatenate(parts, axis=-1)

    return changed


def _halves_exchanged(bias: Array) -> Array:
    return np.concatenate(np.split(bias, 2, axis=-1)[::-1], axis=-1)


def _halves_added(bias: Array) -> Array:
    first, second = np.split(bias, 2, axis=-1)
    return np.concatenate([first + second, 0 * second], axis=-1)


def _directions_exchanged(values: Array) -> Array:
    return values[::-1]


def _transposed_gates(weight: Array) -> Array:
    gates = np.split(weight, weight.shape[1] // weight.shape[2], axis=1)
    return np.concatenate([gate.swapaxes(1, 2) for gate in gates], axis=1)


def _replaced(op: str, other: str, place: int) -> Edit:
    def change(one: onnx.NodeProto) -> None:
        one.op_type = other

    return nodes(op, change, only=place)


def _reset_before_in_step(model: onnx.ModelProto) -> None:
    """n = tanh(W·x + R·(r·h) + b) in place of the product's third part."""
    graph, hidden = model.graph, 8
    (whole,) = (one for one in graph.initializer if one.name == "W_hh")
    (bias,) = (one for one in graph.initializer if one.name == "B_hh")
    for tensor, name in ((whole, "W_hn"), (bias, "B_hn")):
        last = onnx.numpy_helper.to_array(tensor)[..., 2 * hidden :]
        graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(last), name))
    (product,) = (one for one in graph.node if one.name == "Mul_0")
    reset = product.input[0]
    made = [node("Mul", [reset, "h0"], "reset_state"), node("Gemm", ["reset_state", "W_hn", "B_hn"], product.output[0])]
    kept: list[onnx.NodeProto] = []
    for one in graph.node:
        kept += made if one.name == "Mul_0" else [onnx.NodeProto.FromString(one.SerializeToString())]
    del graph.node[:]
    graph.node.extend(kept)


ZEROED: Change = np.zeros_like
DIRECTIONS = together(*(weights(name, _directions_exchanged) for name in ("W_l", "R_l", "B_l")))
HARD_LSTM = attribute("activations", ["HardSigmoid", "Tanh", "Tanh"])

MUTANTS = [
    Mutant(name="lstm-pytorch-gate-order", source=LSTM, edit=_reordered((0, 2, 3, 1)), cause="gate-order"),
    Mutant(name="lstm-2-bi-gates-exchanged", source=LSTM_2_BI, edit=_reordered((0, 1, 3, 2)), cause="gate-order"),
    Mutant(
        name="lstm-2-gate-order-of-one-layer",
        source=LSTM_2,
        edit=_reordered((1, 0, 2, 3), "1"),
        cause="gate-order",
        layer=1,
    ),
    Mutant(
        name="lstm-recurrent-gate-order",
        source=LSTM,
        edit=weights("R_l", blocks((0, 2, 1, 3))),
        cause="gate-order",
        says="weight_hh",
    ),
    Mutant(
        name="lstm-2-bi-bias-gate-order",
        source=LSTM_2_BI,
        edit=weights("B_l", blocks((2, 1, 0, 3), count=8)),
        cause="gate-order",
        says="bias_ih and bias_hh",
    ),
    Mutant(
        name="lstm-zero-start-gate-order", source=LSTM_ZERO_START, edit=_reordered((3, 1, 2, 0)), cause="gate-order"
    ),
    Mutant(name="gru-pytorch-gate-order", source=GRU, edit=_reordered((1, 0, 2)), cause="gate-order"),
    Mutant(name="gru-2-bi-gate-order", source=GRU_2_BI, edit=_reordered((2, 0, 1)), cause="gate-order"),
    Mutant(
        name="lstm-step-gate-order",
        source=LSTM_STEP,
        edit=together(weights("W", blocks((1, 0, 2, 3))), weights("B", blocks((1, 0, 2, 3), 0))),
        cause="gate-order",
    ),
    Mutant(
        name="gru-step-gate-order",
        source=GRU_STEP,
        edit=together(*(weights(name, blocks((1, 0, 2), -1)) for name in ("W_ih", "W_hh", "B_ih", "B_hh"))),
        cause="gate-order",
    ),
    Mutant(
        name="lstm-unrolled-gate-order",
        source=LSTM_UNROLLED,
        edit=together(*(weights(name, blocks((2, 1, 0, 3), -1)) for name in ("W_ih", "W_hh", "B_ih"))),
        cause="gate-order",
    ),
    Mutant(
        name="gru-reset-before",
        source=GRU,
        edit=nodes("GRU", attribute("linear_before_reset", 0)),
        cause="reset-gate-before",
    ),
    Mutant(
        name="gru-2-bi-reset-before",
        source=GRU_2_BI,
        edit=nodes("GRU", attribute("linear_before_reset", 0)),
        cause="reset-gate-before",
    ),
    Mutant(
        name="gru-3-reset-before-in-the-middle",
        source=GRU_3,
        edit=nodes("GRU", attribute("linear_before_reset", 0), only=1),
        cause="reset-gate-before",
        layer=1,
        gate="n",
    ),
    Mutant(
        name="gru-zero-start-reset-before",
        source=GRU_ZERO_START,
        edit=nodes("GRU", attribute("linear_before_reset", 0)),
        cause="reset-gate-before",
    ),
    Mutant(name="gru-step-reset-before", source=GRU_STEP, edit=_reset_before_in_step, cause="reset-gate-before"),
    Mutant(
        name="lstm-2-bi-input-forget",
        source=LSTM_2_BI,
        edit=nodes("LSTM", attribute("input_forget", 1)),
        cause="input-forget",
        gate="f",
    ),
    Mutant(name="gru-bias-swapped", source=GRU, edit=weights("B_l", _halves_exchanged), cause="bias-swapped"),
    Mutant(name="gru-bi-bias-swapped", source=GRU_BI, edit=weights("B_l", _halves_exchanged), cause="bias-swapped"),
    Mutant(name="gru-3-bias-added", source=GRU_3, edit=weights("B_l", _halves_added), cause="bias-swapped"),
    Mutant(name="lstm-bias-dropped", source=LSTM, edit=weights("B_l", ZEROED), cause="bias-dropped"),
    Mutant(
        name="lstm-2-bi-recurrent-bias-dropped",
        source=LSTM_2_BI,
        edit=weights("B_l", half(1, ZEROED)),
        cause="bias-dropped",
        says="bias_hh",
    ),
    Mutant(
        name="lstm-2-input-bias-dropped-in-one-layer",
        source=LSTM_2,
        edit=weights("B_l1", half(0, ZEROED)),
        cause="bias-dropped",
        layer=1,
        says="bias_ih",
    ),
    Mutant(name="gru-bias-dropped", source=GRU, edit=weights("B_l", ZEROED), cause="bias-dropped"),
    Mutant(name="lstm-step-bias-dropped", source=LSTM_STEP, edit=weights("B", ZEROED), cause="bias-dropped"),
    Mutant(
        name="gru-unrolled-recurrent-bias-dropped",
        source=GRU_UNROLLED,
        edit=weights("B_hh", ZEROED),
        cause="bias-dropped",
        says="bias_hh",
    ),
    Mutant(name="lstm-bi-directions-swapped", source=LSTM_BI, edit=DIRECTIONS, cause="directions-swapped"),
    Mutant(name="lstm-2-bi-directions-swapped", source=LSTM_2_BI, edit=DIRECTIONS, cause="directions-swapped"),
    Mutant(name="gru-2-bi-directions-swapped", source=GRU_2_BI, edit=DIRECTIONS, cause="directions-swapped"),
    Mutant(
        name="lstm-transposed",
        source=LSTM,
        edit=weights("R_l", _transposed_gates),
        cause="weights-transposed",
        says="weight_hh",
    ),
    Mutant(
        name="gru-2-bi-transposed",
        source=GRU_2_BI,
        edit=weights("R_l", _transposed_gates),
        cause="weights-transposed",
        says="weight_hh",
    ),
    Mutant(name="lstm-clip", source=LSTM, edit=nodes("LSTM", attribute("clip", 0.5)), cause="clip", says="0.5"),
    Mutant(name="lstm-2-bi-clip", source=LSTM_2_BI, edit=nodes("LSTM", attribute("clip", 3.0)), cause="clip", says="3"),
    Mutant(name="gru-clip", source=GRU, edit=nodes("GRU", attribute("clip", 1.0)), cause="clip", says="1"),
    Mutant(name="lstm-hard-sigmoid", source=LSTM, edit=nodes("LSTM", HARD_LSTM), cause="wrong-activation", says="1/5"),
    Mutant(
        name="lstm-bi-softsign",
        source=LSTM_BI,
        edit=nodes("LSTM", attribute("activations", ["Sigmoid", "Softsign", "Tanh"] * 2)),
        cause="wrong-activation",
        says="candidate",
    ),
    Mutant(
        name="gru-relu",
        source=GRU,
        edit=nodes("GRU", attribute("activations", ["Sigmoid", "Relu"])),
        cause="wrong-activation",
        says="relu",
    ),
    Mutant(
        name="lstm-step-hard-tanh-of-c",
        source=LSTM_STEP,
        edit=_replaced("Tanh", "Softsign", 1),
        cause="wrong-activation",
        says="tanh of c",
    ),
]
