"""States of models whose recurrence is no layer of PyTorch: found by their gates, or named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.eager_truth import onnx_outputs
from torch import Tensor, nn

from rnnx.errors import FrozenDimError, OptionError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model
from rnnx.tracing.states.blended_states import blended_pairs


class Cell(nn.Module):
    """Four gates of `x (B, 8)` and `h (B, 8)`, and a `forward` that uses them."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.of_x, self.of_h = nn.Linear(8, 32), nn.Linear(8, 32)
        self._forward = forward

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        return self._forward(self, x, h, c)


def _lstm(self: Any, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = (self.of_x(x) + self.of_h(h)).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(self: Any, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    z, n, g, _ = (self.of_x(x) + self.of_h(h)).chunk(4, 1)
    h = (1 - z.sigmoid()) * n.tanh() + z.sigmoid() * h
    return g.sigmoid() * x + (1 - g.sigmoid()) * h, h


def _residual(self: Any, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return x + (self.of_x(x) + self.of_h(h))[:, :8], c.sum(1)


FOUND = {
    "lstm": (_lstm, {"h": "output_0", "c": "output_1"}),
    "gru-with-a-gated-output": (_gru, {"h": "output_1"}),
    "residual": (_residual, {}),
}


@pytest.mark.parametrize(("forward", "pairs"), FOUND.values(), ids=FOUND)
def test_a_gate_tells_the_states(forward: Any, pairs: dict[str, str]) -> None:
    names, example = ["x", "h", "c"], tuple(torch.randn(3, 8) for _ in range(3))
    program = torch.export.export(Cell(forward).eval(), example, strict=False)
    found = blended_pairs(program, names, ("output_0", "output_1"))
    assert {pair.input: pair.output for pair in found} == pairs


def test_a_cell_without_a_recurrent_layer_is_a_model_like_any_other(tmp_path: Path) -> None:
    module, example = Cell(_lstm).eval(), {name: torch.randn(3, 8) for name in ("x", "h", "c")}
    report = export_model(module, example, tmp_path / "cell.onnx")
    feeds = {name: np.full((5, 8), 0.5, np.float32) for name in example}
    with torch.no_grad():
        expected = module(*(torch.from_numpy(value) for value in feeds.values()))
    found = onnx_outputs(report.path, feeds)
    assert report.contract.streaming.kind == "exact"
    assert {spec.dims for spec in report.contract.inputs} == {("B", 8)}
    for (_, value), own in zip(found.items(), expected, strict=True):
        np.testing.assert_allclose(value, own.numpy(), atol=2e-6)


def test_named_states_are_the_model_s(tmp_path: Path) -> None:
    options = ModelOptions(states={"h": "output_0"})
    example = tuple(torch.randn(3, 8) for _ in range(3))
    report = export_model(Cell(_residual).eval(), example, tmp_path / "m.onnx", options)
    assert [(pair.input, pair.output) for pair in report.contract.states] == [("h", "output_0")]


def test_a_batch_that_a_line_fixes_is_refused(tmp_path: Path) -> None:
    module = Cell(lambda self, x, h, c: (x.view(3, 8) * h, c)).eval()
    with pytest.raises(FrozenDimError, match=r"axis 0: got a model that fixes it at 3.*x\.view\(3, 8\)"):
        export_model(module, tuple(torch.randn(3, 8) for _ in range(3)), tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({"y": "output_0"}, "got input 'y', expected one of the inputs x, h, c"),
        ({"h": "h_next"}, "got output 'h_next', expected one of the outputs output_0, output_1"),
        ({"h": "output_1"}, r"got h float32 \(B, 8\) with output_1 float32 \(B,\), expected one dtype and one shape"),
        ({"h": "output_0", "c": "output_0"}, "got output 'output_0' for two inputs"),
    ],
    ids=["input", "output", "shape", "twice"],
)
def test_a_named_state_that_is_none_is_refused(states: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        export_model(
            Cell(_residual).eval(),
            tuple(torch.randn(3, 8) for _ in range(3)),
            tmp_path / "m.onnx",
            ModelOptions(states=states),
        )
