from pathlib import Path

import pytest
import torch
from tests.rnnx.tracing.eager_truth import assert_as_close, onnx_outputs
from torch import Tensor, nn

from rnnx.tracing.exporting import export_model


class _TwoWays(nn.Module):
    """One layer, frame by frame in a loop and then over the whole sequence."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.rnn = getattr(nn, kind)(6, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = None, []
        for t in range(x.size(1)):
            y, state = self.rnn(x[:, t : t + 1], state)
            outputs.append(y)
        result: Tensor = self.rnn(torch.cat(outputs, 1))[0]
        return result


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_layer_called_on_frames_and_on_a_sequence_has_the_weights_of_both_forms(kind: str, tmp_path: Path) -> None:
    module, path = _TwoWays(kind).eval(), tmp_path / "m.onnx"
    export_model(module, {"x": torch.randn(2, 9, 6)}, path)
    inputs = {"x": torch.randn(3, 5, 6)}
    assert_as_close(list(onnx_outputs(path, {"x": inputs["x"].numpy()}).values()), module, inputs, kind)
