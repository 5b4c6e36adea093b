from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnx
import rnnx_runtime

SEED = 20271

LAYERS = [
    pytest.param(nn.LSTM, {}, id="lstm"),
    pytest.param(nn.LSTM, {"num_layers": 2, "bidirectional": True, "batch_first": True}, id="lstm-2-bi-batch-first"),
    pytest.param(nn.LSTM, {"proj_size": 3, "num_layers": 2}, id="lstm-2-projected"),
    pytest.param(nn.LSTM, {"bias": False}, id="lstm-no-bias"),
    pytest.param(nn.GRU, {"num_layers": 3}, id="gru-3"),
    pytest.param(nn.GRU, {"bidirectional": True, "batch_first": True}, id="gru-bi-batch-first"),
    pytest.param(nn.RNN, {"nonlinearity": "relu", "bidirectional": True}, id="rnn-relu-bi"),
]


class Step(nn.Module):
    """A policy's step: a layer over sequences, given one frame."""

    def __init__(self, kind: type[nn.Module], options: dict[str, Any]) -> None:
        super().__init__()
        self.axis = 1 if options.get("batch_first") else 0
        self.layer = kind(4, 6, **options)

    def forward(self, seen: Tensor) -> tuple[Tensor, ...]:
        output, last = self.layer(seen.unsqueeze(self.axis))
        return (output.squeeze(self.axis), *(last if isinstance(last, tuple) else (last,)))


@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_a_layer_over_one_frame_is_a_step_of_each_layer(
    tmp_path: Path, kind: type[nn.Module], options: dict[str, Any]
) -> None:
    torch.manual_seed(SEED)
    model = Step(kind, options).eval()
    path = tmp_path / "step.onnx"
    report = rnnx.export(model, path, example_inputs=(torch.randn(2, 4),))
    assert [own.formulation for own in report.contract.recurrent] == ["frame"]
    assert not {"LSTM", "GRU", "RNN", "Scan"} & report.nodes.keys()
    with rnnx_runtime.load(path) as session, torch.no_grad():
        for rows in (1, 2, 7):
            seen = torch.randn(rows, 4)
            outputs, _ = session.run({"seen": seen.numpy()})
            for found, expected in zip(outputs.values(), model(seen), strict=True):
                np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-6)


def test_states_that_are_given_are_carried(tmp_path: Path) -> None:
    class Carried(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 6, 2, batch_first=True)

        def forward(self, seen: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            output, (h, c) = self.lstm(seen[:, None], (h, c))
            return output[:, 0], h, c

    torch.manual_seed(SEED)
    model = Carried().eval()
    example = (torch.randn(2, 4), torch.randn(2, 2, 6), torch.randn(2, 2, 6))
    report = rnnx.export(model, tmp_path / "step.onnx", example_inputs=example)
    assert report.contract.recurrent[0].formulation == "frame"
    frames = torch.randn(5, 3, 4)
    h = c = torch.zeros(2, 3, 6)
    with rnnx_runtime.load(tmp_path / "step.onnx") as session, torch.no_grad():
        state = None
        for frame in frames:
            y, state = session.step(frame.numpy(), state)
            expected, h, c = model(frame, h, c)
            np.testing.assert_allclose(y, expected.numpy(), rtol=0, atol=1e-6)
