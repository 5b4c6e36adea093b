from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - as it is written everywhere
from tests.rnnx.tracing.eager_truth import onnx_outputs
from tests.rnnx.tracing.small_models import Forward, sequence
from torch import Tensor

from rnnx.errors import ExportError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model
from rnnx.tracing.operators.random_numbers import MeansOfRandomNumbers

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


def _noisy(self: Forward, x: Tensor) -> Tensor:
    x = F.dropout(x, 0.5, True) + torch.randn(x.size(0), 1, 5)
    y: Tensor = self.lstm(x + torch.empty_like(x).normal_())[0]
    y = torch.dropout(y, 0.5, True) * (y.new_empty(y.size(0), 1, 8).bernoulli_(0.8) / 0.8)
    return y + torch.distributions.Normal(y, y.exp()).rsample()


def test_deterministic_turns_dropout_off_and_takes_noise_at_its_mean(tmp_path: Path) -> None:
    module = Forward(_noisy).eval()
    options = ModelOptions(input_names=("x",), deterministic=True)
    report = export_model(module, (sequence(2, 4),), tmp_path / "m.onnx", options)
    assert report.notes == (
        "deterministic: dropout is off and noise is at its mean (dropout, randn, normal_, bernoulli_)",
    )
    x = sequence(3, 7)
    found = onnx_outputs(report.path, {"x": x.numpy()})["output"]
    assert np.allclose(found, 2 * module.lstm(x)[0].detach().numpy(), atol=2e-6)


def test_uniform_numbers_have_no_mean_that_could_stand_for_them(tmp_path: Path) -> None:
    module = Forward(lambda self, x: self.lstm(x)[0] * (torch.rand(8) > 0.5)).eval()
    with pytest.raises(ExportError, match=r"aten\.rand\..*expected dropout, or noise with a mean"):
        export_model(module, (sequence(2, 4),), tmp_path / "m.onnx", replace(OPTIONS, deterministic=True))


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda x: torch.normal(1.5, 2.0, (3,)), torch.full((3,), 1.5)),
        (lambda x: torch.normal(x, 2.0), torch.arange(3.0)),
        (lambda x: torch.normal(1.5, x), torch.full((3,), 1.5)),
        (lambda x: torch.normal(x, x + 1), torch.arange(3.0)),
        (lambda x: torch.nn.init.normal_(x.clone(), 2.0), torch.full((3,), 2.0)),
        (lambda x: torch.bernoulli(x / 2), torch.arange(3.0) / 2),
        (lambda x: x.clone().bernoulli_(x / 2), torch.arange(3.0) / 2),
        (lambda x: F.alpha_dropout(x, 0.5, training=True), torch.arange(3.0)),
        (lambda x: F.rrelu(-x, 0.1, 0.3, True), torch.arange(3.0) * -0.2),
        (lambda x: torch.randn_like(x, dtype=torch.float64).float(), torch.zeros(3)),
    ],
    ids=["sizes", "means", "deviations", "both", "init", "chances", "chances-in-place", "alpha", "rrelu", "like"],
)
def test_the_mean_of_each_kind(draw: Any, mean: Tensor) -> None:
    with MeansOfRandomNumbers():
        assert torch.allclose(draw(torch.arange(3.0)), mean)


def test_attention_is_computed_without_its_dropout() -> None:
    x = sequence(2, 3)
    with MeansOfRandomNumbers() as means:
        found = F.scaled_dot_product_attention(x, x, x, dropout_p=0.9)
    assert torch.equal(found, F.scaled_dot_product_attention(x, x, x))
    assert means.notes == ("deterministic: dropout is off and noise is at its mean (scaled_dot_product_attention)",)


def test_dropout_that_is_off_draws_none(tmp_path: Path) -> None:
    module = Forward(lambda self, x: F.dropout(F.dropout1d(self.lstm(x)[0], 0.5, self.training), 0.5, False)).eval()
    assert export_model(module, (sequence(2, 4),), tmp_path / "m.onnx", OPTIONS).notes == ()
