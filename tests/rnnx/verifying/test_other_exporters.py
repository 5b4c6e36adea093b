"""Files of other exporters, verified as adopting reads them: against each other's backends, or against their module."""

import warnings
from pathlib import Path

import pytest
import torch
from tests.rnnx.adopting.foreign_files import PLAIN, STATES, write
from torch import Tensor, nn

import rnnx
from rnnx.errors import AdoptionError, OptionError
from rnnx.runners.verify_options import VerifyOptions

ROWS = ("ort-cpu", "tensorrt-network")


def verified(path: Path, model: nn.Module | None = None) -> rnnx.VerificationReport:
    return rnnx.verify(path, VerifyOptions(latency=False, backends=ROWS, model=model))


def test_backends_are_held_to_onnxruntime_where_there_is_no_other_truth(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    theirs = write(tmp_path / "theirs.onnx", STATES)
    report = verified(theirs)
    assert report
    assert report.model == str(theirs)
    assert (
        "ONNX Runtime in float32 (no PyTorch truth); theirs.onnx is another exporter's: states h0 → hn" in report.truth
    )
    assert {(row.backend, row.status) for row in report.parity.rows} == {(row, "pass") for row in ROWS}
    streamed = {check.backend: check.status for check in report.checks if check.check == "streaming"}
    assert streamed == dict.fromkeys(ROWS, "pass")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.onnx"]


class Tagger(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.lstm, self.head, self.scale = nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 3), scale

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.lstm(x)[0]) * self.scale
        return result


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model as torch.onnx writes it."""
    path = tmp_path_factory.mktemp("theirs") / "tagger.onnx"
    axes = {"x": {0: "batch", 1: "frames"}, "y": {0: "batch", 1: "frames"}}
    example = (torch.randn(2, 9, 5),)
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            Tagger(1.0).eval(), example, path, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=axes
        )
    return path


@pytest.mark.parametrize(("scale", "status"), [(1.0, "pass"), (1.01, "fail")], ids=["its-module", "another"])
def test_a_module_is_the_truth_of_another_exporters_file(tagger: Path, scale: float, status: str) -> None:
    report = rnnx.verify(tagger, VerifyOptions(latency=False, backends=("ort-cpu",), model=Tagger(scale).eval()))
    assert [row.status for row in report.parity.rows] == [status]
    assert report.truth.startswith("module Tagger, PyTorch in float64; tagger.onnx is another exporter's")


def test_names_need_the_weights_that_they_are_for(tmp_path: Path) -> None:
    theirs = write(tmp_path / "theirs.onnx", STATES)
    with pytest.raises(OptionError, match=r"names: got no checkpoint"):
        rnnx.verify(theirs, VerifyOptions(names={"output": "y"}))


def test_a_file_with_nothing_recurrent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdoptionError, match=r"1 Relu, 1 Add, expected an LSTM, GRU, RNN, Scan or Loop"):
        verified(write(tmp_path / "theirs.onnx", PLAIN))
