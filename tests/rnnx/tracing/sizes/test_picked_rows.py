from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model


class BeamStep(nn.Module):
    """A step of a beam search: each row goes on from the state of a parent."""

    def __init__(self, pick: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.embedding, self.cell, self.pick = nn.Embedding(11, 4), nn.LSTMCell(4, 6), pick

    def forward(self, token: Tensor, parent: Tensor, h: Tensor, c: Tensor) -> Any:
        return self.cell(self.embedding(token), (self.pick(h, parent), self.pick(c, parent)))


@pytest.mark.parametrize(
    "pick",
    [
        lambda state, parent: state[parent],
        lambda state, parent: state.index_select(0, parent),
        lambda state, parent: torch.gather(state, 0, parent[:, None].expand(-1, 6)),
    ],
    ids=["indexed", "index_select", "gather"],
)
def test_the_rows_of_a_state_that_a_beam_picks_stay_free(
    pick: Callable[[Tensor, Tensor], Tensor], tmp_path: Path
) -> None:
    example = (torch.tensor([3, 4]), torch.tensor([1, 0]), torch.zeros(2, 6), torch.zeros(2, 6))
    report = export_model(BeamStep(pick).eval(), example, tmp_path / "m.onnx", ModelOptions())
    assert [spec.dims for spec in report.contract.inputs] == [("B",), ("B",), ("B", 6), ("B", 6)]


class LayeredStep(BeamStep):
    def __init__(self) -> None:
        super().__init__(lambda state, parent: state[:, parent])
        self.lstm = nn.LSTM(4, 6, 2)

    def forward(self, token: Tensor, parent: Tensor, h: Tensor, c: Tensor) -> Any:
        states = self.pick(h, parent), self.pick(c, parent)
        return self.lstm(self.embedding(token)[None], states)


def test_the_layers_of_a_state_whose_rows_are_picked_are_fixed(tmp_path: Path) -> None:
    states = torch.zeros(2, 3, 6), torch.zeros(2, 3, 6)
    example = (torch.tensor([3, 4, 5]), torch.tensor([1, 0, 2]), *states)
    report = export_model(
        LayeredStep().eval(), example, tmp_path / "m.onnx", ModelOptions(dims={"h": (None, "B", None)})
    )
    assert [spec.dims for spec in report.contract.inputs[2:]] == [(2, "B", 6), (2, "B", 6)]
