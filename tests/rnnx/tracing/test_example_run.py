from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.eager_truth import onnx_outputs
from tests.rnnx.tracing.small_models import Forward, sequence
from torch import Tensor, nn

from rnnx.errors import ExportError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.example_run import ExampleRun, run_example
from rnnx.tracing.exporting import export_model
from rnnx.tracing.signature import named_as, read_signature

OPTIONS = ModelOptions(input_names=("x",))


def _run(forward: Any) -> ExampleRun:
    module = Forward(forward).eval()
    signature, tensors = read_signature(module, (sequence(2, 4),))
    return run_example(module, named_as(signature, ("x",)), tensors, None)


def _keeps(self: Any, x: Tensor) -> Tensor:
    output, last = self.lstm(x, getattr(self, "last", None))
    self.last = last
    return output  # type: ignore[no-any-return]


def _starts_anew(self: Any, x: Tensor) -> Tensor:
    self.last = (torch.zeros(1, x.size(0), 8),) * 2
    output, self.last = self.lstm(x, self.last)
    return output  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("forward", "repeats"),
    [
        (_keeps, False),
        (_starts_anew, True),
        (lambda self, x: self.lstm(torch.randn_like(x))[0], True),
        (lambda self, x: self.lstm(x)[0] / 0, True),
    ],
    ids=["kept-state", "state-of-one-call", "random", "infinite"],
)
def test_a_second_call_tells_state_that_is_kept(forward: Any, repeats: bool) -> None:
    assert _run(forward).repeats is repeats


def test_calls_are_recorded_once_though_the_model_runs_twice() -> None:
    assert [call.index for call in _run(lambda self, x: self.lstm(x)[0]).calls] == [0]


def test_state_that_begins_as_nothing_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"^Forward\.last: got a tensor that forward changes and reads in the next"):
        export_model(Forward(_keeps).eval(), (sequence(2, 4),), tmp_path / "m.onnx", OPTIONS)


def test_a_model_that_writes_into_its_input_leaves_the_example_alone(tmp_path: Path) -> None:
    module, x = Forward(lambda self, x: self.lstm(x.mul_(2))[0]).eval(), sequence(2, 4)
    report = export_model(module, (x,), tmp_path / "m.onnx", OPTIONS)
    assert torch.equal(x, sequence(2, 4))
    found = onnx_outputs(report.path, {"x": sequence(3, 6).numpy()})["output"]
    assert np.allclose(found, module(sequence(3, 6)).detach().numpy(), atol=2e-6)


def test_a_model_whose_calls_change_its_weights_is_left_as_it_was(tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.lstm = nn.Embedding(12, 5, max_norm=0.5), nn.LSTM(5, 8, batch_first=True)

        def forward(self, tokens: Tensor) -> Tensor:
            output: Tensor = self.lstm(self.embedding(tokens))[0]
            return output

    module = Scaled().eval()
    before = module.embedding.weight.detach().clone()
    report = export_model(module, (torch.arange(10).reshape(2, 5),), tmp_path / "m.onnx")
    assert torch.equal(module.embedding.weight, before)
    tokens = torch.arange(12).reshape(3, 4)
    found = onnx_outputs(report.path, {"tokens": tokens.numpy()})["output"]
    assert np.allclose(found, module(tokens).detach().numpy(), atol=2e-6)
