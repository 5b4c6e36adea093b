"""Mutants of lower precision: TF32, float16, bfloat16 and int8, by rounded weights and by nodes that round."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto
from tests.mutants.edits import Array, Change, after, before, constant, node, together, weights
from tests.mutants.mutant import Edit, Mutant
from tests.mutants.quantization import quantized
from tests.mutants.sources import (
    GRU,
    GRU_2_BI,
    GRU_STEP,
    LSTM,
    LSTM_2,
    LSTM_2_BI,
    LSTM_STEP,
    LSTM_STEP_GROWN,
    LSTM_UNROLLED,
    LSTM_WIDE,
)  # fmt: skip

Nodes = tuple[Sequence[onnx.NodeProto], str]
Chain = Callable[[onnx.ModelProto, str], Nodes]


def _in_tf32(model: onnx.ModelProto, tensor: str) -> Nodes:
    """Dekker's split: (s·x) - (s·x - x) with s = 2^13 + 1 has the first 11 bits of x."""
    scale = constant(model, f"splitter_of_{tensor}", 2**13 + 1, np.float32)
    made = [
        node("Mul", [tensor, scale], f"{tensor}_scaled"),
        node("Sub", [f"{tensor}_scaled", tensor], f"{tensor}_rest"),
        node("Sub", [f"{tensor}_scaled", f"{tensor}_rest"], f"{tensor}_tf32"),
    ]
    return made, f"{tensor}_tf32"


def _through(kind: int) -> Chain:
    def chain(model: onnx.ModelProto, tensor: str) -> Nodes:
        made = [
            node("Cast", [tensor], f"{tensor}_narrow", to=kind),
            node("Cast", [f"{tensor}_narrow"], f"{tensor}_wide", to=TensorProto.FLOAT),
        ]
        return made, f"{tensor}_wide"

    return chain


def _through_int8(step: float) -> Chain:
    def chain(model: onnx.ModelProto, tensor: str) -> Nodes:
        scale = constant(model, f"scale_of_{tensor}", step, np.float32)
        zero = constant(model, f"zero_of_{tensor}", 0, np.int8)
        made = [
            node("QuantizeLinear", [tensor, scale, zero], f"{tensor}_int8"),
            node("DequantizeLinear", [f"{tensor}_int8", scale, zero], f"{tensor}_back"),
        ]
        return made, f"{tensor}_back"

    return chain


def _rounded(dtype: torch.dtype) -> Change:
    def change(values: Array) -> Array:
        result: Array = torch.from_numpy(values).to(dtype).float().numpy()
        return result

    return change


def _tf32(values: Array) -> Array:
    scaled = values * np.float32(2**13 + 1)
    result: Array = scaled - (scaled - values)
    return result


def _int8(values: Array) -> Array:
    step = np.abs(values).max() / 127
    result: Array = np.rint(values / step) * step
    return result


def _all_weights(change: Change, *names: str) -> Edit:
    return together(*(weights(name, change) for name in names))


HALF, BRAIN = _through(TensorProto.FLOAT16), _through(TensorProto.BFLOAT16)

MUTANTS = [
    Mutant(
        name="lstm-step-tf32",
        source=LSTM_STEP,
        edit=together(before("Gemm", "Concat_0_concat_result", _in_tf32), _all_weights(_tf32, "W")),
        cause="tf32",
    ),
    Mutant(
        name="gru-step-tf32",
        source=GRU_STEP,
        edit=together(*(before("Gemm", name, _in_tf32) for name in ("x", "h0")), _all_weights(_tf32, "W_")),
        cause="tf32",
    ),
    Mutant(
        name="lstm-unrolled-tf32",
        source=LSTM_UNROLLED,
        edit=together(
            *(
                before("MatMul", name, _in_tf32)
                for name in ("x", "Unsqueeze_0_expanded", "Mul_2_C", "Mul_5_C", "Mul_8_C")
            ),
            _all_weights(_tf32, "W_"),
        ),
        cause="tf32",
    ),
    Mutant(
        name="lstm-2-bi-tf32-inputs",
        source=LSTM_2,
        edit=together(
            before("LSTM", "x", _in_tf32),
            before("LSTM", "Squeeze_0_squeezed", _in_tf32),
            _all_weights(_tf32, "W_", "R_"),
        ),
        cause="tf32",
    ),
    Mutant(
        name="lstm-float16-weights",
        source=LSTM,
        edit=_all_weights(_rounded(torch.float16), "W_", "R_"),
        cause="float16-precision",
    ),
    Mutant(
        name="gru-2-bi-float16-weights",
        source=GRU_2_BI,
        edit=_all_weights(_rounded(torch.float16), "W_", "R_"),
        cause="float16-precision",
    ),
    Mutant(name="lstm-step-float16-cell-state", source=LSTM_STEP, edit=after("cn", HALF), cause="float16-precision"),
    Mutant(
        name="lstm-bfloat16-weights",
        source=LSTM,
        edit=_all_weights(_rounded(torch.bfloat16), "W_", "R_"),
        cause="bfloat16-precision",
    ),
    Mutant(
        name="lstm-2-bi-bfloat16-input-weights",
        source=LSTM_2_BI,
        edit=_all_weights(_rounded(torch.bfloat16), "W_", "R_"),
        cause="bfloat16-precision",
    ),
    Mutant(
        name="gru-step-bfloat16",
        source=GRU_STEP,
        edit=together(
            *(before("Gemm", name, BRAIN) for name in ("x", "h0")), _all_weights(_rounded(torch.bfloat16), "W_")
        ),
        cause="bfloat16-precision",
    ),
    Mutant(
        name="lstm-step-float16-overflow",
        source=LSTM_STEP_GROWN,
        edit=after("cn", HALF),
        cause="float16-overflow",
    ),
    Mutant(
        name="lstm-step-float16-overflow-at-the-start",
        source=LSTM_STEP_GROWN,
        edit=before("Mul", "c0", HALF),
        cause="float16-overflow",
    ),
    Mutant(name="gru-int8-weights", source=GRU, edit=_all_weights(_int8, "W_", "R_"), cause="int8-precision"),
    Mutant(name="lstm-wide-int8", source=LSTM_WIDE, edit=quantized(reduce_range=True), cause="int8-precision"),
    Mutant(
        name="lstm-int8-saturated-x",
        source=LSTM,
        edit=before("LSTM", "x", _through_int8(1 / 127)),
        cause="int8-saturation",
    ),
    Mutant(
        name="gru-2-bi-int8-saturated-x",
        source=GRU_2_BI,
        edit=before("GRU", "x", _through_int8(1.5 / 127)),
        cause="int8-saturation",
    ),
    Mutant(
        name="lstm-step-int8-saturated-x",
        source=LSTM_STEP,
        edit=before("Concat", "x", _through_int8(0.8 / 127)),
        cause="int8-saturation",
    ),
]
