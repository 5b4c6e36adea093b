import builtins
from pathlib import Path

import pytest
import torch
from tests.rnnx.tracing import small_models
from tests.rnnx.tracing.small_models import Tagger, sequence
from torch import Tensor, nn

from rnnx.tracing.exporting import export_model
from rnnx.tracing.sized_tensors import sized_tensors


class Counted(nn.Module):
    """The batch by len() of a tensor, and len() of a list."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        start = torch.zeros(len([x]), len(x), 8)
        output: Tensor = self.lstm(x, (start, start))[0]
        return output


def test_len_of_a_tensor_is_no_number_of_the_example(tmp_path: Path) -> None:
    report = export_model(Counted().eval(), (sequence(3, 4),), tmp_path / "counted.onnx")
    assert report.contract.inputs[0].dims == ("B", "T", 5)


def test_len_is_pythons_again_afterwards() -> None:
    names = vars(small_models)
    with sized_tensors(Tagger()):
        size = names["len"]
        assert (size(torch.zeros(3, 2)), size([1, 2]), size("abcd")) == (3, 2, 4)
        with pytest.raises(TypeError):
            size(torch.zeros(()))
        assert "len" not in vars(nn)
    assert "len" not in names
    assert builtins.len([1]) == 1
