"""Slices with numbers for ends, of axes that are shorter or longer than those in the example."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.rnnx.tracing.eager_truth import onnx_outputs
from tests.rnnx.tracing.small_models import Forward, sequence

from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model

FIRST: Any = lambda self, x: self.lstm(x[:, :6])[0]  # noqa: E731
LAST: Any = lambda self, x: self.lstm(x)[0][:, -6:].mean(1)  # noqa: E731


@pytest.mark.parametrize(
    ("forward", "time"),
    [
        (FIRST, 4),
        (LAST, 4),
        (LAST, 9),
        (lambda self, x: self.lstm(x[:, -6:-1])[0], 4),
        (lambda self, x: self.lstm(x)[0][:, ::2][:, :3, 1:4], 4),
        (lambda self, x: self.lstm(x[None, :, :6].squeeze(0))[0][..., -6:, :], 4),
        (lambda self, x: self.lstm(x)[0][:, x.size(1) // 2], 9),
    ],
    ids=["first", "last", "last-of-longer", "between", "every-second", "none-and-ellipsis", "made-place"],
)
def test_a_slice_cuts_at_every_size_as_python_does(forward: Any, time: int, tmp_path: Path) -> None:
    module = Forward(forward).eval()
    report = export_model(module, (sequence(2, time),), tmp_path / "m.onnx", ModelOptions(input_names=("x",)))
    assert report.contract.inputs[0].dims == ("B", "T", 5)
    for size in (2, 5, 6, 7, 50):
        found = onnx_outputs(report.path, {"x": sequence(3, size).numpy()})["output"]
        expected = forward(module, sequence(3, size)).detach().numpy()
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_an_example_that_is_cut_leaves_longer_sequences_free(tmp_path: Path) -> None:
    module = Forward(FIRST).eval()
    report = export_model(module, (sequence(2, 9),), tmp_path / "m.onnx", ModelOptions(input_names=("x",)))
    assert [spec.dims for spec in (*report.contract.inputs, *report.contract.outputs)] == [("B", "D1", 5), ("B", 6, 8)]
    assert report.contract.ranges["D1"].min in (6, 7)  # PyTorch asks for more than 6
    for size in (6, 7, 50):
        found = onnx_outputs(report.path, {"x": sequence(3, size).numpy()})["output"]
        np.testing.assert_allclose(found, FIRST(module, sequence(3, size)).detach().numpy(), atol=2e-6)
