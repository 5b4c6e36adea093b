from pathlib import Path

import pytest
import torch
from tests.rnnx.tracing.eager_truth import assert_as_close, onnx_outputs
from tests.rnnx.tracing.traced_forward import run, traced
from torch import Tensor, nn

from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model
from rnnx.tracing.host_values import host_values


def _masked(x: Tensor) -> Tensor:
    scores = x * 2
    scores.data.masked_fill_(x > 0, -1e4)
    return scores.softmax(-1)


def test_what_is_written_into_data_is_seen() -> None:
    program = traced(_masked, torch.randn(2, 9), host_values(nn.Module()))
    x = torch.randn(3, 4)
    torch.testing.assert_close(run(program, x), _masked(x))


def test_tensors_are_as_they_were() -> None:
    x = torch.ones(3)
    with host_values(nn.Module()):
        assert x.data.data_ptr() == x.data_ptr()
        x.data = torch.zeros(2)
    assert x.shape == x.data.shape == (2,)
    assert "data" not in vars(Tensor)


class FromAWeight(nn.Module):
    """First states that are made like a weight, as PyTorch's own tutorials make them."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, num_layers=2, batch_first=True)

    def init_hidden(self, batch: int) -> tuple[Tensor, Tensor]:
        weight = next(self.parameters()).data
        return weight.new_zeros(2, batch, 8), weight.new(2, batch, 8).zero_()

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.lstm(x, self.init_hidden(x.size(0)))[0]
        return output


@pytest.mark.parametrize("stateful", [False, True])
def test_first_states_like_the_data_of_a_weight_keep_the_batch_free(tmp_path: Path, stateful: bool) -> None:
    options, module = ModelOptions(stateful=stateful), FromAWeight().eval()
    report = export_model(module, (torch.randn(2, 9, 5),), tmp_path / "model.onnx", options)
    assert len(report.contract.states) == 2 * stateful
    inputs = {"x": torch.randn(3, 4, 5)}
    feeds = {pair.input: torch.zeros(2, 3, 8).numpy() for pair in report.contract.states}
    found = onnx_outputs(report.path, feeds | {"x": inputs["x"].numpy()})
    assert_as_close(list(found.values())[:1], module, inputs, f"stateful {stateful}")
