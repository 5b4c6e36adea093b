from pathlib import Path

import pytest
import torch
from tests.rnnx.tracing.eager_truth import assert_as_close, onnx_outputs
from tests.rnnx.tracing.traced_forward import run, traced
from torch import Tensor, nn

from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.data_views import DataViews
from rnnx.tracing.exporting import export_model


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


def test_data_is_part_of_the_trace() -> None:
    program = traced(_scaled, torch.randn(2, 9), DataViews())
    x = torch.randn(4, 3)
    assert torch.equal(run(program, x), _scaled(x))


def _scaled(x: Tensor) -> Tensor:
    return x / x.data.abs().max()
