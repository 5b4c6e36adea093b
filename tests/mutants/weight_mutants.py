"""Mutants with faults in single weights: what no exporter does by design, to be localised to layer, direction, gate."""

import numpy as np
import onnx
from tests.mutants.edits import Array, Change, after, constant, node, together, weights
from tests.mutants.mutant import Edit, Mutant
from tests.mutants.sources import (
    GRU,
    GRU_2_BI,
    GRU_3,
    GRU_STEP,
    GRU_UNROLLED,
    GRU_ZERO_START,
    LSTM,
    LSTM_2,
    LSTM_2_BI,
    LSTM_BI,
    LSTM_STEP,
    LSTM_UNROLLED,
    LSTM_WIDE,
    LSTM_ZERO_START,
)  # fmt: skip

HIDDEN = 8


def in_gate(gate: int, change: Change, direction: int = 0) -> Change:
    """Change one gate's rows of W or R `(D, G·H, K)`, gates counted in ONNX's order."""

    def changed(values: Array) -> Array:
        rows = slice(gate * HIDDEN, (gate + 1) * HIDDEN)
        values[direction, rows] = change(values[direction, rows])
        return values

    return changed


def in_columns(gate: int, change: Change) -> Change:
    """Change one gate's columns of a cell's transposed weight `(K, G·H)`, or of its bias; `change` sees rows."""

    def changed(values: Array) -> Array:
        columns = slice(gate * HIDDEN, (gate + 1) * HIDDEN)
        values[..., columns] = change(values[..., columns].T).T
        return values

    return changed


def at(row: int, column: int, change: Change) -> Change:
    """Change one value."""

    def changed(values: Array) -> Array:
        values[row, column] = change(values[row, column])
        return values

    return changed


def rows(places: list[int], change: Change) -> Change:
    """Change some rows."""

    def changed(values: Array) -> Array:
        values[places] = change(values[places])
        return values

    return changed


def times(factor: float) -> Change:
    """Multiply by a factor."""
    return lambda values: values * np.float32(factor)


def noisy_column(column: int, size: float) -> Change:
    """Noise on one column of every gate of a weight `(D, G·H, K)`, or of a cell's transposed one."""

    def changed(values: Array) -> Array:
        chance = np.random.default_rng(3)
        if values.ndim == 3:
            values[..., column] += size * chance.standard_normal(values.shape[:-1], np.float32)
        else:
            values[column] += size * chance.standard_normal(values.shape[1:], np.float32)
        return values

    return changed


def rounded(decimals: int) -> Change:
    """Round to decimals."""
    return lambda values: values.round(decimals)


def rounded_by_row(steps: int) -> Change:
    """Round to a whole number of steps on either side of zero, in each row."""

    def changed(values: Array) -> Array:
        step = np.abs(values).max(-1, keepdims=True) / steps
        return np.asarray(np.rint(values / step) * step, np.float32)

    return changed


def scaled_output(name: str, factor: float) -> Edit:
    """An output times a factor."""

    def chain(model: onnx.ModelProto, tensor: str) -> tuple[list[onnx.NodeProto], str]:
        by = constant(model, f"factor_of_{name}", factor, np.float32)
        return [node("Mul", [tensor, by], f"{name}_scaled")], f"{name}_scaled"

    return after(name, chain)


ZEROED: Change = np.zeros_like
FLIPPED: Change = np.negative
NUDGED: Change = lambda value: value + np.float32(1e-3)  # noqa: E731 - a change like the two above
SHIFTED: Change = lambda value: np.roll(value, 1, -1)  # noqa: E731 - a change like the two above

MUTANTS = [
    Mutant(
        name="lstm-gate-rows-zeroed",
        source=LSTM,
        edit=weights("W_l0", in_gate(2, ZEROED)),
        cause="weight-fault",
        layer=0,
        gate="f",
        says="weight_ih_l0, gate f, all rows: zeros",
    ),
    Mutant(
        name="lstm-2-bi-gate-rows-zeroed",
        source=LSTM_2_BI,
        edit=weights("R_l1", in_gate(0, ZEROED, 1)),
        cause="weight-fault",
        layer=1,
        direction="backward",
        gate="i",
        says="weight_hh_l1_reverse",
    ),
    Mutant(
        name="lstm-bi-sign-flipped",
        source=LSTM_BI,
        edit=weights("R_l0", in_gate(1, at(3, 2, FLIPPED), 1)),
        cause="weight-fault",
        layer=0,
        direction="backward",
        gate="o",
        says="row 27: column 2 has the other sign",
    ),
    Mutant(
        name="lstm-2-column-shifted",
        source=LSTM_2,
        edit=weights("W_l1", in_gate(3, SHIFTED)),
        cause="weight-fault",
        layer=1,
        gate="g",
        says="columns shifted by one",
    ),
    Mutant(
        name="lstm-value-nudged",
        source=LSTM,
        edit=weights("R_l0", in_gate(0, at(0, 0, NUDGED))),
        cause="weight-fault",
        layer=0,
        gate="i",
        says="column 0 is off by +0.001",
    ),
    Mutant(
        name="lstm-2-bi-columns-shifted-in-every-gate",
        source=LSTM_2_BI,
        edit=weights("R_l0", SHIFTED),
        cause="weight-fault",
        layer=0,
        says="weight_hh: columns shifted by one",
    ),
    Mutant(
        name="lstm-zero-start-sign-flipped",
        source=LSTM_ZERO_START,
        edit=weights("R_l0", in_gate(2, at(5, 5, FLIPPED))),
        cause="weight-fault",
        layer=0,
        direction="forward",
        gate="f",
    ),
    Mutant(
        name="gru-gate-rows-zeroed",
        source=GRU,
        edit=weights("R_l0", in_gate(0, ZEROED)),
        cause="weight-fault",
        layer=0,
        gate="z",
        says="weight_hh_l0, gate z",
    ),
    Mutant(
        name="gru-2-bi-candidate-nudged",
        source=GRU_2_BI,
        edit=weights("R_l1", in_gate(2, at(6, 1, NUDGED), 0)),
        cause="weight-fault",
        layer=1,
        direction="forward",
        gate="n",
        says="row 22: column 1 is off by +0.001",
    ),
    Mutant(
        name="gru-2-bi-rows-flipped",
        source=GRU_2_BI,
        edit=weights("W_l0", in_gate(1, rows([2, 3], FLIPPED), 1)),
        cause="weight-fault",
        layer=0,
        direction="backward",
        gate="r",
        says="rows 2–3: flipped sign",
    ),
    Mutant(
        name="gru-zero-start-rows-zeroed",
        source=GRU_ZERO_START,
        edit=weights("R_l1", in_gate(2, rows([4], ZEROED))),
        cause="weight-fault",
        layer=1,
        gate="n",
    ),
    Mutant(
        name="lstm-step-sign-flipped",
        source=LSTM_STEP,
        edit=weights("W", in_columns(0, at(1, 7, FLIPPED))),
        cause="weight-fault",
        layer=0,
        gate="i",
        says="weight_hh, gate i, row 1: column 2 has the other sign",
    ),
    Mutant(
        name="gru-step-rows-zeroed",
        source=GRU_STEP,
        edit=weights("W_hh", in_columns(2, ZEROED)),
        cause="weight-fault",
        layer=0,
        gate="n",
        says="weight_hh, gate n, all rows: zeros",
    ),
    Mutant(
        name="lstm-unrolled-value-nudged",
        source=LSTM_UNROLLED,
        edit=weights("W_ih", in_columns(2, at(4, 3, NUDGED))),
        cause="weight-fault",
        layer=0,
        gate="o",
    ),
    Mutant(
        name="lstm-unrolled-forget-rows-zeroed",
        source=LSTM_UNROLLED,
        edit=weights("W_hh", in_columns(1, ZEROED)),
        cause="weight-fault",
        layer=0,
        gate="f",
    ),
    Mutant(
        name="gru-unrolled-column-shifted",
        source=GRU_UNROLLED,
        edit=weights("W_ih", in_columns(0, SHIFTED)),
        cause="weight-fault",
        layer=0,
        gate="r",
        says="columns shifted by one",
    ),
    Mutant(
        name="lstm-bias-value-nudged",
        source=LSTM,
        edit=weights("B_l0", lambda bias: at(0, 9, NUDGED)(bias)),
        cause="weight-fault",
        layer=0,
        gate="o",
        says="bias_ih_l0 + bias_hh_l0",
    ),
    Mutant(
        name="lstm-output-halved",
        source=LSTM_BI,
        edit=scaled_output("output", 0.5),
        cause="output-scaled",
        says="output is 0.5 times what it should be",
    ),
    Mutant(
        name="gru-last-state-negated",
        source=GRU_2_BI,
        edit=scaled_output("hn", -1.0),
        cause="output-scaled",
        says="hn is the negative of what it should be",
    ),
    Mutant(
        name="lstm-step-cell-state-scaled",
        source=LSTM_STEP,
        edit=scaled_output("cn", 1.02),
        cause="output-scaled",
        says="cn is 1.02 times what it should be",
    ),
    Mutant(
        name="lstm-2-bi-input-weights-scaled",
        source=LSTM_2_BI,
        edit=weights("W_l0", times(0.9)),
        cause="weights-scaled",
        layer=0,
        says="weight_ih: 0.9 times what it should be",
    ),
    Mutant(
        name="gru-recurrent-weights-scaled",
        source=GRU,
        edit=weights("R_l0", times(1.01)),
        cause="weights-scaled",
        says="weight_hh: 1.01 times what it should be",
    ),
    Mutant(
        name="lstm-2-bi-bias-negated",
        source=LSTM_2_BI,
        edit=weights("B_l1", np.negative),
        cause="weights-scaled",
        layer=1,
        says="bias_ih and bias_hh: the negative of what it should be",
    ),
    Mutant(
        name="gru-2-zero-start-bias-negated",
        source=GRU_ZERO_START,
        edit=weights("B_l0", np.negative),
        cause="weights-scaled",
        layer=0,
        says="the negative of what it should be",
    ),
    Mutant(
        name="lstm-one-gates-bias-scaled",
        source=LSTM,
        edit=weights("B_l0", lambda bias: in_gate(2, times(1.5))(bias.reshape(1, -1)).reshape(1, -1)),
        cause="weights-scaled",
        gate="f",
        says="gate f: 1.5 times what it should be",
    ),
    Mutant(
        name="gru-step-one-gates-weights-scaled",
        source=GRU_STEP,
        edit=weights("W_hh", in_columns(2, times(2.0))),
        cause="weights-scaled",
        gate="n",
        says="weight_hh, gate n: 2 times what it should be",
    ),
    Mutant(
        name="lstm-weights-rounded-to-two-decimals",
        source=LSTM_2_BI,
        edit=weights("", rounded(2)),
        cause="weights-rounded",
        says="to 2 decimals",
    ),
    Mutant(
        name="gru-weights-rounded-to-three-decimals",
        source=GRU_3,
        edit=weights("", rounded(3)),
        cause="weights-rounded",
        says="to 3 decimals",
    ),
    Mutant(
        name="lstm-weights-rounded-to-eight-bits-by-row",
        source=LSTM_WIDE,
        edit=together(weights("W_l0", rounded_by_row(127)), weights("R_l0", rounded_by_row(127))),
        cause="weights-rounded",
        says="to int8 by row",
    ),
    Mutant(
        name="lstm-noisy-column",
        source=LSTM,
        edit=weights("W_l0", noisy_column(3, 0.1)),
        cause="weight-fault",
        layer=0,
        says="weight_ih_l0, column 3: 32 of 32 rows differ",
    ),
    Mutant(
        name="gru-2-bi-noisy-column-of-a-state",
        source=GRU_2_BI,
        edit=weights("R_l1", lambda values: np.stack([noisy_column(5, 0.2)(values[:1])[0], values[1]])),
        cause="weight-fault",
        layer=1,
        direction="forward",
        says="weight_hh_l1, column 5",
    ),
    Mutant(
        name="lstm-one-gates-noisy-column",
        source=LSTM,
        edit=weights("W_l0", in_gate(1, lambda values: noisy_column(2, 0.1)(values[np.newaxis])[0])),
        cause="weight-fault",
        gate="o",
        says="weight_ih_l0, gate o, all rows: each differs in column 2",
    ),
]
