"""Mutants whose states are led to the wrong place: h and c exchanged, rows mixed up, initial states not used."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from tests.mutants.edits import after, before, constant, input_at, node, nodes, together
from tests.mutants.mutant import Edit, Mutant
from tests.mutants.sources import GRU_2_BI, GRU_3, LSTM, LSTM_2, LSTM_2_BI, LSTM_BI, LSTM_STEP, LSTM_UNROLLED


def _swapped(first: int, second: int) -> Any:
    def change(one: onnx.NodeProto) -> None:
        one.input[first], one.input[second] = one.input[second], one.input[first]

    return change


def _outputs_swapped(one: onnx.NodeProto) -> None:
    one.output[1], one.output[2] = one.output[2], one.output[1]


def _inputs_reversed(one: onnx.NodeProto) -> None:
    one.input[:] = list(one.input)[::-1]


def _renamed_inputs(first: str, second: str) -> Edit:
    """Every node that reads one tensor reads the other."""

    def edit(model: onnx.ModelProto) -> None:
        other = {first: second, second: first}
        for one in model.graph.node:
            one.input[:] = [other.get(name, name) for name in one.input]

    return edit


def _rows(order: Sequence[int]) -> Any:
    def chain(model: onnx.ModelProto, tensor: str) -> tuple[list[onnx.NodeProto], str]:
        rows = constant(model, f"rows_of_{tensor}", order)
        return [node("Gather", [tensor, rows], f"{tensor}_gathered", axis=0)], f"{tensor}_gathered"

    return chain


def _times_zero(model: onnx.ModelProto, tensor: str) -> tuple[list[onnx.NodeProto], str]:
    zero = constant(model, f"zero_for_{tensor}", 0, np.float32)
    return [node("Mul", [tensor, zero], f"{tensor}_zeroed")], f"{tensor}_zeroed"


MUTANTS = [
    Mutant(name="lstm-h0-for-c0", source=LSTM, edit=nodes("LSTM", _swapped(5, 6)), cause="states-swapped"),
    Mutant(name="lstm-2-bi-h0-for-c0", source=LSTM_2_BI, edit=_renamed_inputs("h0", "c0"), cause="states-swapped"),
    Mutant(name="lstm-step-h0-for-c0", source=LSTM_STEP, edit=_renamed_inputs("h0", "c0"), cause="states-swapped"),
    Mutant(name="lstm-bi-hn-for-cn", source=LSTM_BI, edit=nodes("LSTM", _outputs_swapped), cause="states-swapped"),
    Mutant(name="lstm-2-hn-for-cn", source=LSTM_2, edit=nodes("LSTM", _outputs_swapped), cause="states-swapped"),
    Mutant(
        name="lstm-2-bi-last-states-of-layers-exchanged",
        source=LSTM_2_BI,
        edit=nodes("Concat", _inputs_reversed),
        cause="layer-states-mixed",
    ),
    Mutant(
        name="gru-3-last-states-reversed",
        source=GRU_3,
        edit=nodes("Concat", _inputs_reversed),
        cause="layer-states-mixed",
    ),
    Mutant(
        name="lstm-2-bi-last-states-by-direction",
        source=LSTM_2_BI,
        edit=together(*(after(name, _rows((0, 2, 1, 3))) for name in ("hn", "cn"))),
        cause="layer-states-mixed",
        says="0, 2, 1, 3",
    ),
    Mutant(
        name="lstm-2-bi-first-states-by-direction",
        source=LSTM_2_BI,
        edit=together(*(before("", name, _rows((0, 2, 1, 3))) for name in ("h0", "c0"))),
        cause="layer-states-mixed",
        says="0, 2, 1, 3",
    ),
    Mutant(
        name="lstm-2-c0-of-layers-exchanged",
        source=LSTM_2,
        edit=before("", "c0", _rows((1, 0))),
        cause="layer-states-mixed",
        says="c0",
    ),
    Mutant(
        name="gru-2-bi-first-directions-exchanged",
        source=GRU_2_BI,
        edit=before("", "h0", _rows((1, 0, 3, 2))),
        cause="layer-states-mixed",
    ),
    Mutant(
        name="gru-3-first-state-for-every-layer",
        source=GRU_3,
        edit=before("", "h0", _rows((0, 0, 0))),
        cause="layer-states-mixed",
    ),
    Mutant(name="lstm-c0-ignored", source=LSTM, edit=nodes("LSTM", input_at(6, "")), cause="state-ignored", says="c0"),
    Mutant(
        name="lstm-2-bi-states-ignored",
        source=LSTM_2_BI,
        edit=together(nodes("LSTM", input_at(5, "")), nodes("LSTM", input_at(6, ""))),
        cause="state-ignored",
        says="h0 and c0",
    ),
    Mutant(
        name="gru-3-state-ignored-in-the-last-layer",
        source=GRU_3,
        edit=nodes("GRU", input_at(5, ""), only=2),
        cause="state-ignored",
        says="row 2",
    ),
    Mutant(
        name="lstm-step-c0-ignored",
        source=LSTM_STEP,
        edit=before("Mul", "c0", _times_zero),
        cause="state-ignored",
        says="c0",
    ),
    Mutant(
        name="lstm-unrolled-h0-ignored",
        source=LSTM_UNROLLED,
        edit=before("", "h0", _times_zero),
        cause="state-ignored",
        says="h0",
    ),
]
