"""Cells written by hand become PyTorch's where they compute the same, and stay in their loop where they do not."""

from pathlib import Path

import onnx
import pytest
import torch
from tests.rnnx.tracing.loops.cell_models import (
    Chunked,
    Clamped,
    ElmanFromTheEnd,
    Peephole,
    ResetBefore,
    StackedCells,
    Zoneout,
)
from tests.rnnx.tracing.loops.fused_checks import SEQUENCE, Dims, assert_right, inputs_of, recurrences
from tests.rnnx.tracing.loops.loop_models import LayerNormLSTM
from torch import nn

from rnnx.tracing.exporting import export_model
from rnnx_runtime.contract import StatePair

STATES = {"x": SEQUENCE, "h": ("B", 8), "c": ("B", 8)}

CELLS: dict[str, tuple[type[nn.Module], Dims, dict[str, int]]] = {
    "gate-by-gate-and-products": (StackedCells, {"x": SEQUENCE}, {"LSTM": 1, "GRU": 1}),
    "elman-from-the-end": (ElmanFromTheEnd, {"tokens": ("B", "T")}, {"RNN": 1}),
    "products-before-the-loop": (Chunked, STATES, {"LSTM": 1}),
}


@pytest.mark.parametrize(("kind", "dims", "operators"), CELLS.values(), ids=CELLS)
def test_a_cell_by_hand_is_pytorchs_operator(
    kind: type[nn.Module], dims: Dims, operators: dict[str, int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module, path = kind().eval(), tmp_path / "m.onnx"
    export_model(module, inputs_of(dims, 3, 9), path)
    assert_right(module, dims, path)
    assert recurrences(path) == operators


OTHERS: dict[str, tuple[type[nn.Module], Dims]] = {
    "layer-norm": (LayerNormLSTM, STATES),
    "peephole": (Peephole, STATES),
    "zoneout": (Zoneout, STATES),
    "clamped": (Clamped, STATES),
    "reset-before-the-product": (ResetBefore, {"x": SEQUENCE}),
}


@pytest.mark.parametrize(("kind", "dims"), OTHERS.values(), ids=OTHERS)
def test_other_equations_stay_a_loop(kind: type[nn.Module], dims: Dims, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, path = kind().eval(), tmp_path / "m.onnx"
    export_model(module, inputs_of(dims, 3, 9), path)
    assert_right(module, dims, path)
    assert recurrences(path) == {"Scan": 1}


def test_the_contract_names_a_cell_by_its_module_and_pairs_its_states(tmp_path: Path) -> None:
    stacked = export_model(StackedCells().eval(), inputs_of({"x": SEQUENCE}, 3, 9), tmp_path / "m.onnx").contract
    assert [(own.name, own.cell, own.formulation) for own in stacked.recurrent] == [
        ("lstm", "lstm", "fused"),
        ("gru", "gru", "fused"),
    ]
    given = export_model(Chunked().eval(), inputs_of(STATES, 3, 9), tmp_path / "n.onnx").contract
    assert {*given.states} == {
        StatePair(input="h", output="output_1"),
        StatePair(input="c", output="output_2"),
    }
    assert [own.name for own in given.recurrent] == ["loop0"]


def test_what_an_operator_stands_for_is_no_more_in_the_file(tmp_path: Path) -> None:
    """The weights are the operator's alone, and as narrow as the model's."""
    export_model(Chunked().eval(), inputs_of(STATES, 3, 9), tmp_path / "m.onnx")
    shapes = {own.name: list(own.dims) for own in onnx.load(tmp_path / "m.onnx").graph.initializer if len(own.dims) > 2}
    assert shapes == {"loop0/W_l0": [1, 32, 5], "loop0/R_l0": [1, 32, 8]}
