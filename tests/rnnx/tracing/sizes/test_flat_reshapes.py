from pathlib import Path
from typing import Any

import pytest
import torch
from tests.rnnx.tracing.eager_truth import onnx_outputs
from tests.rnnx.tracing.small_models import Forward, sequence
from torch import Tensor

from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model


def _states(self: Any, x: Tensor) -> Tensor:
    """The last states of two layers in both directions, `(B, 2, 8)`, as speechbrain lays them out: `(4, B, 4)`."""
    output = self.lstm(x)[0]
    last = torch.stack([output[:, -1], output[:, 0]], dim=1)
    result: Tensor = last.reshape(last.shape[1] * 2, last.shape[0], 4)
    return result


@pytest.mark.parametrize("batch", [2, 3])
def test_a_reshape_that_moves_the_batch_leaves_it_free(batch: int, tmp_path: Path) -> None:
    path, model = tmp_path / "m.onnx", Forward(_states).eval()
    report = export_model(model, (sequence(batch, 6),), path, ModelOptions(input_names=("x",)))
    assert report.contract.inputs[0].dims == ("B", "T", 5)
    for rows, time in ((1, 1), (2, 3), (5, 9)):
        x = sequence(rows, time)
        (found,) = onnx_outputs(path, {"x": x.numpy()}).values()
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), model(x), rtol=0, atol=1e-5)
