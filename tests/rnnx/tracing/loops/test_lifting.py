"""What a loop in Python carries as states of the model: a sequence in chunks gives the whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.eager_truth import Array, eager_outputs, onnx_outputs
from tests.rnnx.tracing.loops.loop_models import (
    CellAfterLayer,
    ConvLSTMFrames,
    FirstFrame,
    IndRNN,
    LayersInTime,
    LSTMFrameByFrame,
    MadeLayerNormLSTM,
    OneCell,
    TwoDirections,
    TwoLengths,
)
from torch import nn

from rnnx.errors import OptionError
from rnnx.graphs.export_report import ExportReport
from rnnx.modules.given_module import GivenModule
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model
from rnnx.tracing.live_model import opened_model
from rnnx.truths.golden import golden_path
from rnnx.truths.model_golden import read_model_golden

STATEFUL = ModelOptions(stateful=True)
CHUNKS = (4, 5, 10)

STREAMED: dict[str, tuple[type[nn.Module], tuple[int, ...], list[str]]] = {
    "layer-norm-lstm": (MadeLayerNormLSTM, (5,), ["h0", "c0"]),
    "conv-lstm": (ConvLSTMFrames, (1, 4, 4), ["h0", "c0"]),
    "learned-start": (IndRNN, (5,), ["hidden"]),
    "cell-from-none": (OneCell, (5,), ["h0", "c0"]),
    "nested-layers": (LayersInTime, (5,), ["cells_0_h0", "cells_0_c0", "cells_1_h0", "cells_1_c0"]),
    "layer-frame-by-frame": (LSTMFrameByFrame, (5,), ["h0", "c0"]),
    "beside-a-layer": (CellAfterLayer, (5,), ["h0", "c0", "loop0_h0"]),
}


@pytest.mark.parametrize(("kind", "frame", "names"), STREAMED.values(), ids=STREAMED)
def test_a_loop_streams(kind: type[nn.Module], frame: tuple[int, ...], names: list[str], tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, x = kind().eval(), torch.randn(2, 12, *frame)
    report = export_model(module, (torch.randn(3, 9, *frame),), tmp_path / "m.onnx", STATEFUL)
    assert [pair.input for pair in report.contract.states] == names
    assert report.contract.streaming.kind == "exact"
    expected = eager_outputs(module, {_only_input(report): x}, torch.float64)[0]
    np.testing.assert_allclose(_in_chunks(report, x.numpy()), expected, atol=1e-5)


def test_a_learned_start_is_said(tmp_path: Path) -> None:
    report = export_model(IndRNN().eval(), (torch.randn(3, 9, 5),), tmp_path / "m.onnx", STATEFUL)
    assert "hidden: zeros stand for the values that the model's loop starts from" in report.notes


def test_a_loop_that_starts_from_another_s_end_has_no_state_of_its_own(tmp_path: Path) -> None:
    example = (torch.randn(3, 9, 5), torch.randn(3, 6, 5))
    report = export_model(TwoLengths().eval(), example, tmp_path / "m.onnx", STATEFUL)
    assert [pair.input for pair in report.contract.states] == ["h0"]


def test_the_module_at_hand_gives_the_golden_values_of_its_loop(tmp_path: Path) -> None:
    module = OneCell().eval()
    contract = export_model(module, (torch.randn(3, 9, 5),), tmp_path / "m.onnx", STATEFUL).contract
    golden = read_model_golden(golden_path(tmp_path / "m.onnx"), contract)
    given = GivenModule(module=module, source="made:here", checkpoint=None, example_inputs=None)
    with opened_model(given, contract, golden.example) as live:
        for entry in golden.entries:
            found = live.eager().outputs(entry.case.feeds, torch.float64)
            single = live.candidate("pytorch-cpu").outputs(entry.case)
            for name, value in entry.truth.items():
                np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-12)
                np.testing.assert_allclose(single[name], value, rtol=0, atol=1e-5)


def test_a_start_from_the_inputs_is_no_state(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="starts from values of the inputs"):
        export_model(FirstFrame().eval(), (torch.randn(3, 9, 5),), tmp_path / "m.onnx", STATEFUL)


def test_of_two_directions_the_one_that_goes_forwards_has_states(tmp_path: Path) -> None:
    options = ModelOptions(stateful="recurrent")
    report = export_model(TwoDirections().eval(), (torch.randn(3, 9, 5),), tmp_path / "m.onnx", options)
    assert [pair.input for pair in report.contract.states] == ["h0", "c0"]
    assert report.contract.streaming.kind == "chunked"


def _only_input(report: ExportReport) -> str:
    """The name of the first input, which is the sequence."""
    return report.contract.inputs[0].name


def _in_chunks(report: ExportReport, x: Array) -> Array:
    """The first output of the sequence, one chunk after another."""
    specs = {spec.name: spec for spec in report.contract.inputs}
    sizes = dict(zip(map(str, next(iter(specs.values())).dims), x.shape, strict=True))
    states: dict[str, Any] = {
        pair.input: np.zeros([sizes.get(str(dim), dim) for dim in specs[pair.input].dims], np.float32)
        for pair in report.contract.states
    }
    found = []
    for chunk in np.split(x, CHUNKS, axis=1):
        outputs = onnx_outputs(report.path, {next(iter(specs)): chunk, **states})
        found.append(next(iter(outputs.values())))
        states = {pair.input: outputs[pair.output] for pair in report.contract.states}
    return np.concatenate(found, 1)
