from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.eager_truth import onnx_outputs
from tests.rnnx.tracing.small_models import Forward, sequence
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import rnnx
from rnnx.errors import UntracedError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model


@pytest.mark.parametrize(
    ("forward", "dims"),
    [
        (lambda self, x: self.lstm(x)[1][0].squeeze(), ["B"]),
        (lambda self, x: self.lstm(x)[0].squeeze(1), ["T"]),
        (lambda self, x: self.lstm(x)[1][0].squeeze(0), []),
        (lambda self, x: self.lstm(x)[0][..., :1].squeeze(-1), []),
        (lambda self, x: self.lstm(x)[0][..., :1].squeeze((1, -1)), ["T"]),
    ],
    ids=["all", "time", "layers", "features", "time-and-features"],
)
def test_a_squeeze_that_could_drop_a_free_axis_is_noted(forward: Any, dims: list[str], tmp_path: Path) -> None:
    options = ModelOptions(input_names=("x",))
    module = Forward(forward).eval()
    report = export_model(module, (sequence(2, 4),), tmp_path / "m.onnx", options)
    expected = [f"squeeze keeps the axis {dim}: with {dim} = 1 PyTorch drops it" for dim in dims]
    assert [note.split(", so give")[0] for note in report.notes] == expected
    found = onnx_outputs(report.path, {"x": sequence(3, 6).numpy()})["output"]
    assert np.allclose(found, forward(module, sequence(3, 6)).detach().numpy(), atol=2e-6)
    alone = onnx_outputs(report.path, {"x": sequence(1, 1).numpy()})["output"]
    assert alone.ndim == len(report.contract.outputs[0].dims)  # as the note says


def _squeezed_frame(self: Any, x: Any) -> Any:
    return self.lstm(x)[0].squeeze(1)


def test_cases_in_which_an_axis_is_dropped_are_left_out_of_the_golden_file(tmp_path: Path) -> None:
    module, path = Forward(_squeezed_frame).eval(), tmp_path / "m.onnx"
    export_model(module, (sequence(2, 4),), path, ModelOptions(input_names=("x",)))
    report = rnnx.verify(path, rnnx.VerifyOptions(latency=False, backends=("ort-cpu",)))
    assert report
    assert "T1 B1: PyTorch drops an axis of size 1 of output output" in report.truth


def test_a_time_of_one_that_the_example_drops_stays_one_and_is_noted(tmp_path: Path) -> None:
    module = Forward(_squeezed_frame).eval()
    report = export_model(module, (sequence(2, 1),), tmp_path / "m.onnx", ModelOptions(input_names=("x",)))
    assert [spec.dims for spec in (*report.contract.inputs, *report.contract.outputs)] == [("B", 1, 5), ("B", 8)]
    assert [note.split(",")[0] for note in report.notes] == ["layer 'lstm' runs one step at each call"]


def test_a_batch_of_one_that_the_example_drops_is_refused(tmp_path: Path) -> None:
    module = Forward(lambda self, x: self.lstm(x)[0].squeeze(0)).eval()
    with pytest.raises(UntracedError, match=r"got 2 axes from PyTorch on the example.*give a larger example"):
        export_model(module, (sequence(1, 4),), tmp_path / "m.onnx", ModelOptions(input_names=("x",)))
    assert not list(tmp_path.iterdir())


class _Counted(nn.Module):
    """A layer over packed rows whose lengths come as a column."""

    def __init__(self, lengths: Any) -> None:
        super().__init__()
        self.gru, self._lengths = nn.GRU(5, 8, batch_first=True), lengths

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, self._lengths(lengths), batch_first=True, enforce_sorted=False)
        result: Tensor = self.gru(packed)[1][0]
        return result


@pytest.mark.parametrize(
    "lengths", [lambda n: n.squeeze(1), lambda n: n.flatten(), lambda n: n[:, 0]], ids=["squeeze", "flatten", "select"]
)
def test_a_column_of_lengths_stays_one(lengths: Any, tmp_path: Path) -> None:
    example = {"x": torch.randn(2, 4, 5), "lengths": torch.tensor([[4], [2]])}
    report = export_model(_Counted(lengths).eval(), example, tmp_path / "m.onnx")
    assert [spec.dims for spec in report.contract.inputs] == [("B", "T", 5), ("B", 1)]
    assert report.contract.outputs[0].dims == ("B", 8)
