"""Recurrent layers that a loop calls step by step become their own operator over the sequence, where they can."""

from pathlib import Path

import onnx
import pytest
import torch
from tests.rnnx.tracing.loops.fused_checks import SEQUENCE, Dims, assert_right, inputs_of, recurrences
from tests.rnnx.tracing.loops.fused_models import (
    BackwardsProjected,
    GivenStates,
    HalvedTop,
    MeetsItself,
    OneVector,
    ReadsItsMemory,
    TopOfEach,
    TwoDirectionsPerFrame,
    WithTheLast,
)
from tests.rnnx.tracing.loops.loop_models import (
    LayerFrameByFrame,
    LayersInTime,
    LSTMFrameByFrame,
    TeacherForced,
    TwoDirections,
)
from torch import nn

from rnnx.tracing.exporting import export_model

FUSED: dict[str, tuple[type[nn.Module], Dims, dict[str, int]]] = {
    "two-layers-per-frame": (LSTMFrameByFrame, {"x": SEQUENCE}, {"LSTM": 2}),
    "two-cells": (LayersInTime, {"x": SEQUENCE}, {"LSTM": 2}),
    "two-directions": (TwoDirections, {"x": SEQUENCE}, {"LSTM": 1, "GRU": 1}),
    "tokens-and-top-state": (TopOfEach, {"tokens": ("B", "T")}, {"GRU": 2}),
    "backwards-projected": (BackwardsProjected, {"x": ("T", "B", 5)}, {"Scan": 1}),
    "given-states": (GivenStates, {"x": SEQUENCE, "h": ("B", 8), "c": ("B", 8)}, {"LSTM": 1, "RNN": 1}),
    "with-the-step-before": (WithTheLast, {"x": SEQUENCE}, {"LSTM": 1, "Scan": 1}),
    "one-vector-beside-a-loop": (OneVector, {"x": SEQUENCE}, {"GRU": 1, "Scan": 1}),
}


@pytest.mark.parametrize(("kind", "dims", "operators"), FUSED.values(), ids=FUSED)
def test_a_layer_called_step_by_step_takes_the_sequence(
    kind: type[nn.Module], dims: Dims, operators: dict[str, int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module, path = kind().eval(), tmp_path / "m.onnx"
    export_model(module, inputs_of(dims, 3, 9), path)
    assert_right(module, dims, path)
    assert recurrences(path) == operators


KEPT: dict[str, tuple[type[nn.Module], Dims]] = {
    "mask-before-the-states": (LayerFrameByFrame, {"x": SEQUENCE, "done": ("B", "T")}),
    "states-halved-and-top-state": (HalvedTop, {"x": SEQUENCE}),
    "fed-by-attention": (TeacherForced, {"x": SEQUENCE, "memory": ("B", 3, 8)}),
    "c-of-each-step": (ReadsItsMemory, {"x": SEQUENCE}),
    "two-directions-per-frame": (TwoDirectionsPerFrame, {"x": SEQUENCE}),
    "meets-itself": (MeetsItself, {"x": SEQUENCE}),
}


@pytest.mark.parametrize(("kind", "dims"), KEPT.values(), ids=KEPT)
def test_a_layer_that_a_step_feeds_back_stays_in_its_loop(kind: type[nn.Module], dims: Dims, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, path = kind().eval(), tmp_path / "m.onnx"
    export_model(module, inputs_of(dims, 3, 9), path)
    assert_right(module, dims, path)
    assert recurrences(path) == {"Scan": 1}


def test_a_loop_that_goes_backwards_is_a_layer_that_does(tmp_path: Path) -> None:
    export_model(TwoDirections().eval(), inputs_of({"x": SEQUENCE}, 3, 9), tmp_path / "m.onnx")
    nodes = {node.op_type: node for node in onnx.load(tmp_path / "m.onnx").graph.node}
    directions = {
        kind: next((own.s for own in nodes[kind].attribute if own.name == "direction"), b"forward")
        for kind in ("LSTM", "GRU")
    }
    assert directions == {"LSTM": b"forward", "GRU": b"reverse"}


def test_states_given_to_the_first_step_are_the_models(tmp_path: Path) -> None:
    dims = {"x": SEQUENCE, "h": ("B", 8), "c": ("B", 8)}
    contract = export_model(GivenStates().eval(), inputs_of(dims, 3, 9), tmp_path / "m.onnx").contract
    assert {(own.input, own.output) for own in contract.states} == {("h", "output_1"), ("c", "output_2")}
    assert [own.dims for own in contract.inputs] == [SEQUENCE, ("B", 8), ("B", 8)]
    assert [(own.name, own.formulation) for own in contract.recurrent] == [("cell", "fused"), ("next", "fused")]
