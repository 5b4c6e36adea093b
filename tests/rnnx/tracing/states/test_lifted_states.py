"""Which states of a model become inputs and outputs, and that a sequence in chunks gives the whole with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.eager_truth import onnx_outputs
from tests.rnnx.tracing.small_models import Forward, sequence
from torch import Tensor, nn

from rnnx.errors import ExportError, OptionError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.example_run import run_example
from rnnx.tracing.exporting import export_model
from rnnx.tracing.signature import named_as, read_signature
from rnnx.tracing.states.lifted_states import lifted_states

STATEFUL = ModelOptions(stateful=True, input_names=("x",))


class Gru(nn.Module):
    """A GRU and what `forward` does with it; `h0` is a learned state and `kept` a state of the model's own."""

    def __init__(self, forward: Any, *, kept: Any = None, buffer: bool = False) -> None:
        super().__init__()
        self.gru, self.other = nn.GRU(5, 8, batch_first=True), nn.GRU(5, 8, batch_first=True)
        self.h0 = nn.Parameter(torch.linspace(-1, 1, 8).view(1, 1, 8))
        if buffer:
            self.register_buffer("kept", kept)
        else:
            self.kept = kept
        self._forward = forward

    def forward(self, x: Tensor) -> Any:
        return self._forward(self, x)


def _kept_in_place(self: Any, x: Tensor) -> Tensor:
    output, h = self.gru(x, self.kept)
    self.kept[:] = h
    return output  # type: ignore[no-any-return]


def _kept_as_attribute(self: Any, x: Tensor) -> Tensor:
    if self.kept is None:
        self.kept = torch.zeros(1, x.size(0), 8)
    output, self.kept = self.gru(x, self.kept)
    return output  # type: ignore[no-any-return]


def _kept_in_a_tuple(self: Any, x: Tensor) -> Tensor:
    first, h = self.gru(x, self.kept[0] if self.kept else None)
    second, other = self.other(x, self.kept[1] if self.kept else None)
    self.kept = (h, other)
    return first + second  # type: ignore[no-any-return]


def _written_alone(self: Any, x: Tensor) -> Tensor:
    self.kept, _ = self.gru(x)
    return self.kept  # type: ignore[no-any-return]


def _written_before_it_is_read(self: Any, x: Tensor) -> Tensor:
    self.kept = torch.zeros(1, x.size(0), 8)
    return self.gru(x, self.kept)[0]  # type: ignore[no-any-return]


def _handed_on(self: Any, x: Tensor) -> Tensor:
    first, h = self.gru(x[:, :1])
    second, _ = self.gru(x[:, 1:], h)
    return torch.cat([first, second], 1)


LIFTED: dict[str, tuple[Gru, list[str]]] = {
    "torch-zeros": (Gru(lambda self, x: self.gru(x, torch.zeros(1, x.size(0), 8))[0]), ["h0"]),
    "new-zeros": (Gru(lambda self, x: self.gru(x, x.new_zeros(1, x.size(0), 8))[0]), ["h0"]),
    "zeros-like": (
        Gru(lambda self, x: self.gru(x, torch.zeros_like(x[:, :1, :1]).view(1, -1, 1).repeat(1, 1, 8))[0]),
        ["h0"],
    ),
    "learned": (Gru(lambda self, x: self.gru(x, self.h0.expand(-1, x.size(0), -1).contiguous())[0]), ["h0"]),
    "zeros-beside-none": (
        Gru(lambda self, x: self.gru(x)[0] + self.other(x, torch.zeros(1, x.size(0), 8))[0]),
        ["gru_h0", "other_h0"],
    ),
    "called-twice": (Gru(lambda self, x: self.gru(x)[0] + self.gru(-x)[0]), ["gru_call0_h0", "gru_call1_h0"]),
    "handed-on": (Gru(_handed_on), ["h0"]),
    "encoder-decoder": (Gru(lambda self, x: self.other(x, self.gru(x)[1])[0]), ["h0"]),
    "buffer": (Gru(_kept_in_place, kept=torch.zeros(1, 2, 8), buffer=True), ["kept"]),
    "attribute-written-in-place": (Gru(_kept_in_place, kept=torch.zeros(1, 2, 8)), ["kept"]),
    "attribute": (Gru(_kept_as_attribute), ["kept"]),
    "tuple": (Gru(_kept_in_a_tuple), ["kept_0", "kept_1"]),
}


def _eager(module: nn.Module, x: Tensor) -> tuple[EagerModel, list[Any]]:
    signature, tensors = read_signature(module, (x,))
    run = run_example(module, named_as(signature, ("x",)), tensors, None)
    lifted = lifted_states(module, run, {"x", "output"})
    return EagerModel(module, named_as(signature, ("x",)), lifted=lifted), list(lifted.pairs)


@pytest.mark.parametrize(("module", "names"), LIFTED.values(), ids=LIFTED)
def test_a_state_that_comes_from_no_input_is_lifted(module: Gru, names: list[str]) -> None:
    assert [pair.input for pair in _eager(module.eval(), sequence(2, 4))[1]] == names


@pytest.mark.parametrize("case", ["torch-zeros", "learned", "zeros-beside-none", "called-twice", "buffer", "tuple"])
def test_zeros_are_the_model_s_start_and_chunks_give_the_whole(case: str) -> None:
    module, x = LIFTED[case][0].eval(), sequence(2, 6)
    eager, pairs = _eager(module, x)
    zeros = {pair.input: np.zeros((1, 2, 8)) for pair in pairs}
    whole = eager.outputs({"x": x.double().numpy()} | zeros, torch.float64)["output"]
    first = eager.outputs({"x": x[:, :2].double().numpy()} | zeros, torch.float64)
    carried = {pair.input: first[pair.output] for pair in pairs}
    second = eager.outputs({"x": x[:, 2:].double().numpy()} | carried, torch.float64)
    np.testing.assert_allclose(np.concatenate([first["output"], second["output"]], 1), whole, atol=1e-12)
    np.testing.assert_allclose(eager.outputs({"x": x.double().numpy()} | zeros, torch.float64)["output"], whole)


@pytest.mark.parametrize("case", ["learned", "buffer"])
def test_the_file_streams_what_the_model_computes(case: str, tmp_path: Path) -> None:
    module, x = LIFTED[case][0].eval(), sequence(2, 6).numpy()
    with torch.no_grad():
        expected = module(sequence(2, 6)).numpy()
    if module.kept is not None:
        module.kept.zero_()
    report = export_model(module, (sequence(2, 4),), tmp_path / "m.onnx", STATEFUL)
    (pair,) = report.contract.states
    first = onnx_outputs(report.path, {"x": x[:, :2], pair.input: np.zeros((1, 2, 8), np.float32)})
    second = onnx_outputs(report.path, {"x": x[:, 2:], pair.input: first[pair.output]})
    assert report.contract.streaming.kind == "exact"
    np.testing.assert_allclose(np.concatenate([first["output"], second["output"]], 1), expected, atol=2e-6)
    assert any("zeros stand for" in note for note in report.notes) is (case == "learned")


def test_the_report_says_which_layer_starts_from_the_inputs(tmp_path: Path) -> None:
    module = LIFTED["encoder-decoder"][0].eval()
    report = export_model(module, (sequence(2, 4),), tmp_path / "m.onnx", STATEFUL)
    assert "layer 'other' starts from values of x: its state is no input of the file" in report.notes


def test_a_state_is_kept_however_long_the_example_is() -> None:
    module, x = Gru(lambda self, x: _kept_as_attribute(self, x)[:, -1]).eval(), sequence(2, 80)
    signature, tensors = read_signature(module, (x,))
    assert [place.name for place in run_example(module, signature, tensors, None).kept] == ["kept"]
    assert module.kept is None


@pytest.mark.parametrize(
    "forward",
    [
        _written_alone,
        _written_before_it_is_read,
    ],
    ids=["written-alone", "written-before-it-is-read"],
)
def test_what_no_later_call_reads_is_no_state(forward: Any) -> None:
    module = Gru(forward).eval()
    signature, tensors = read_signature(module, (sequence(2, 4),))
    run = run_example(module, signature, tensors, None)
    assert (run.kept, run.carries, run.repeats) == ({}, False, True)


def test_a_kept_state_left_from_an_earlier_run_is_refused(tmp_path: Path) -> None:
    module = Gru(_kept_in_place, kept=torch.ones(1, 2, 8), buffer=True).eval()
    with pytest.raises(ExportError, match=r"kept: got state .* zeros before the first; set it to zeros"):
        export_model(module, (sequence(2, 4),), tmp_path / "m.onnx", STATEFUL)
    assert bool((module.kept == 1).all())


def test_a_model_without_a_state_of_its_own_is_refused(tmp_path: Path) -> None:
    module = Forward(lambda self, x, h: self.lstm(x, (h, h))[0]).eval()
    options = ModelOptions(stateful=True, input_names=("x", "h"))
    with pytest.raises(
        OptionError, match=r"stateful: got layer 'lstm', which starts from values of h, expected a state"
    ):
        export_model(module, (sequence(2, 4), torch.ones(1, 2, 8)), tmp_path / "m.onnx", options)
