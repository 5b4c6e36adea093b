from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.rnnx.tracing.eager_truth import onnx_outputs
from tests.rnnx.tracing.small_models import Forward, sequence

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
