from pathlib import Path
from typing import Any

import pytest
import torch
from tests.rnnx.tracing.eager_truth import onnx_outputs
from tests.rnnx.tracing.small_models import Forward, sequence
from torch import Tensor

from rnnx.errors import FrozenDimError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model

_NAMED = ModelOptions(input_names=("x",))


def _padded(self: Any, x: Tensor) -> Tensor:
    """Padded to whole fours, and trimmed where something was padded, on both sides."""
    more = -(-x.size(1) // 4) * 4 - x.size(1)
    output: Tensor = self.lstm(torch.nn.functional.pad(x, (0, 0, more // 2, more - more // 2)))[0]
    if more:
        output = output[:, more // 2 : -(more - more // 2)]
    return output


def _emptied(self: Any, x: Tensor) -> Tensor:
    more = -(-x.size(1) // 4) * 4 - x.size(1)
    result: Tensor = self.lstm(torch.nn.functional.pad(x, (0, 0, 0, more)))[0][:, : x.size(1)]
    return result * 2 if more else result


@pytest.mark.parametrize("time", [6, 7])
def test_a_slice_that_a_branch_leaves_out_is_whole_there(time: int, tmp_path: Path) -> None:
    path, model = tmp_path / "m.onnx", Forward(_padded).eval()
    report = export_model(model, (sequence(3, time),), path, _NAMED)
    assert report.contract.ranges == {}
    for batch, other in ((1, 1), (2, 4), (2, 5), (3, 40)):
        x = sequence(batch, other)
        (found,) = onnx_outputs(path, {"x": x.numpy()}).values()
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), model(x), rtol=0, atol=1e-5)


def test_a_branch_that_does_more_than_leave_a_slice_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FrozenDimError) as refused:
        export_model(Forward(_emptied).eval(), (sequence(3, 6),), tmp_path / "m.onnx", _NAMED)
    assert "if more" in refused.value.got
