from pathlib import Path
from typing import Any

import pytest
import torch
from tests.rnnx.tracing.eager_truth import onnx_outputs
from tests.rnnx.tracing.small_models import Forward, sequence
from torch import Tensor

from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model


def _whole_fours(self: Any, x: Tensor) -> Tensor:
    more = -(-x.size(1) // 4) * 4 - x.size(1)
    output: Tensor = self.lstm(torch.nn.functional.pad(x, (0, 0, 0, more)))[0]
    return output


def _short(self: Any, x: Tensor) -> Tensor:
    output: Tensor = self.lstm(torch.nn.functional.pad(x, (0, 0, 0, max(1, (x.size(1) - 7) // 4 + 3))))[0]
    return output


@pytest.mark.parametrize("forward", [_whole_fours, _short], ids=["ceiling", "short-sequences"])
def test_a_division_of_a_size_below_zero_rounds_down(forward: Any, tmp_path: Path) -> None:
    path, model = tmp_path / "m.onnx", Forward(forward).eval()
    report = export_model(model, (sequence(3, 6),), path, ModelOptions(input_names=("x",)))
    assert report.contract.ranges == {}
    for batch, time in ((1, 1), (2, 2), (2, 4), (2, 5), (3, 40)):
        x = sequence(batch, time)
        (found,) = onnx_outputs(path, {"x": x.numpy()}).values()
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), model(x), rtol=0, atol=1e-5)
