from pathlib import Path
from typing import Any

import pytest
import torch
from tests.rnnx.tracing.eager_truth import assert_as_close, onnx_outputs
from tests.rnnx.tracing.traced_forward import run, traced
from torch import Tensor, nn

from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model
from rnnx.tracing.host_values import TracedList, host_values


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


def test_a_list_that_depends_on_no_input_is_one_of_plain_numbers() -> None:
    def normalised(x: Tensor) -> Any:
        axes: list[int] = torch.arange(1, len(x.shape)).tolist()
        return x - x.mean(axes, keepdim=True)

    program = traced(normalised, torch.randn(2, 3, 4), host_values(nn.Identity()))
    x = torch.randn(5, 7, 2)
    assert torch.equal(run(program, x), normalised(x))


def test_a_range_that_was_written_into_is_the_graphs() -> None:
    kinds: list[type] = []

    def shifted(x: Tensor) -> Any:
        places = torch.arange(3)
        places += 1
        kinds.append(type(places.tolist()))
        kinds.append(type(torch.arange(x.size(1)).tolist()))
        return x * 2

    traced(shifted, torch.randn(2, 3), host_values(nn.Identity()))
    assert set(kinds) == {TracedList}


def test_pytorch_is_as_it_was() -> None:
    before = torch.arange
    with host_values(nn.Identity()):
        assert torch.arange is not before
        assert torch.arange(3).tolist() == [0, 1, 2]
    assert torch.arange is before
