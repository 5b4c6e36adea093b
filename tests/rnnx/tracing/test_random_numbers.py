from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - as it is written everywhere
from tests.rnnx.tracing.small_models import Forward, sequence

from rnnx.errors import ExportError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model

OPTIONS = ModelOptions(input_names=("x",))


@pytest.mark.parametrize(
    ("forward", "operator"),
    [
        (lambda self, x: F.dropout(self.lstm(x)[0]), "dropout"),
        (lambda self, x: self.lstm(x + torch.randn_like(x))[0], "randn_like"),
        (lambda self, x: self.lstm(x)[0] * torch.bernoulli(torch.full((8,), 0.5)), "bernoulli"),
    ],
    ids=["dropout-left-on", "noise", "bernoulli"],
)
def test_random_numbers_are_refused(forward: Any, operator: str, tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=rf"random numbers drawn in forward \(aten\.{operator}.*self\.training"
    ) as told:
        export_model(Forward(forward).eval(), (sequence(2, 4),), tmp_path / "m.onnx", OPTIONS)
    assert str(Path(__file__).name) in str(told.value) or "small_models.py" in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_dropout_that_is_off_draws_none(tmp_path: Path) -> None:
    module = Forward(lambda self, x: F.dropout(F.dropout1d(self.lstm(x)[0], 0.5, self.training), 0.5, False)).eval()
    assert export_model(module, (sequence(2, 4),), tmp_path / "m.onnx", OPTIONS).notes == ()
