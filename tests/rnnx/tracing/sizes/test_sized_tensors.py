import builtins
import inspect
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.rnnx.tracing import small_models
from tests.rnnx.tracing.small_models import Tagger, sequence
from torch import Tensor, nn

from rnnx.tracing.exporting import export_model
from rnnx.tracing.sizes.sized_tensors import sized_tensors


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


class Scaled(nn.Module):
    """Sizes through int(), float(), math's functions and NumPy's root."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        output = self.lstm(x)[0] / math.sqrt(x.size(1)) / np.sqrt(x.size(0)) * math.log(x.size(1) + 1, 2)
        half: Tensor = output[:, int(x.size(1) / 2) :].sum(1) / float(x.size(1))
        return half.expand(int(x.size(0)), 8)


def test_numbers_made_of_a_size_are_no_numbers_of_the_example(tmp_path: Path) -> None:
    report = export_model(Scaled().eval(), (sequence(3, 4),), tmp_path / "scaled.onnx")
    assert report.contract.inputs[0].dims == ("B", "T", 5)


def test_a_file_that_hands_a_type_on_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    own = sys.modules[__name__]
    with sized_tensors(Scaled()):
        number = vars(own)["int"]
        assert (number("7"), number.from_bytes(b"\x01", "big"), isinstance(3, number)) == (7, 1, True)
    monkeypatch.setattr(inspect, "getsource", lambda _: "n = int(3)\nx.to(int)")
    with sized_tensors(Scaled()):
        assert "int" not in vars(own)
