from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as it is written everywhere
from tests.rnnx.tracing.eager_truth import assert_as_close, onnx_outputs
from tests.rnnx.tracing.small_models import Forward, sequence
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model


def _many(self: Forward, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    y: Tensor = self.lstm(x)[0]
    halves = lengths >> 1
    attended = F.scaled_dot_product_attention(y, y, y, is_causal=True)
    ordered, places = y.sort(dim=1, stable=True)
    scaled = (attended + ordered.cummax(1)[0] + places) / y.abs().amax()
    return scaled, halves


class _Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Forward(_many)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.inner(x, lengths)
        return found


def test_operators_that_torch_onnx_lacks_are_written_with_others(tmp_path: Path) -> None:
    module, path = _Named().eval(), tmp_path / "many.onnx"
    report = export_model(module, (sequence(2, 4), torch.tensor([4, 3])), path)
    assert not {"BitShift"} & {*report.nodes}
    for batch, time in ((1, 1), (3, 9)):
        inputs = {"x": sequence(batch, time), "lengths": torch.full((batch,), time)}
        found = onnx_outputs(report.path, {name: value.numpy() for name, value in inputs.items()})
        assert_as_close([*found.values()], module, inputs, f"{batch}x{time}")


def test_a_mask_over_nothing_gives_zeros_without_an_axis_of_heads(tmp_path: Path) -> None:
    module = Forward(
        lambda self, x, mask: F.scaled_dot_product_attention(*(self.lstm(x)[0],) * 3, attn_mask=mask[:, None])
    ).eval()
    options = ModelOptions(input_names=("x", "mask"))
    mask = torch.ones(2, 4, dtype=torch.bool)
    report = export_model(module, (sequence(2, 4), mask), tmp_path / "mask.onnx", options)
    mask[1] = False
    found = onnx_outputs(report.path, {"x": sequence(2, 4).numpy(), "mask": mask.numpy()})["output"]
    assert np.allclose(found, module(sequence(2, 4), mask).detach().numpy(), atol=2e-6)
    assert (found[1] == 0).all()


def test_parts_of_a_free_axis_and_repeats_of_a_free_count_are_free(tmp_path: Path) -> None:
    def forward(self: Forward, x: Tensor) -> Tensor:
        first, second = self.lstm(x)[0].chunk(2, dim=1)
        last = second[:, -1].repeat_interleave(x.size(1), 0).view(x.size(0), x.size(1), -1)
        return torch.cat([first.sum(1, keepdim=True), last], 1)

    module, path = Forward(forward).eval(), tmp_path / "parts.onnx"
    report = export_model(module, (sequence(2, 5),), path, ModelOptions(input_names=("x",)))
    assert not any("Sequence" in kind for kind in report.nodes)
    for batch, time in ((1, 2), (3, 8)):
        found = onnx_outputs(report.path, {"x": sequence(batch, time).numpy()})["output"]
        expected = module(sequence(batch, time)).detach().numpy()
        assert np.allclose(found, expected, atol=2e-6)


def test_weights_that_a_parametrization_computes_are_values(tmp_path: Path) -> None:
    class Orthogonal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(5, 8, batch_first=True)
            self.turn = parametrizations.orthogonal(nn.Linear(8, 8))  # by an exponential that ONNX has none of
            self.head = parametrizations.spectral_norm(nn.Linear(8, 3))

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.head(self.turn(self.lstm(x)[0]))
            return found

    torch.manual_seed(20805)
    module = Orthogonal().eval()
    report = export_model(module, (sequence(2, 5),), tmp_path / "turned.onnx")
    assert report.nodes["MatMul"] == 2
    found = onnx_outputs(report.path, {"x": sequence(3, 8).numpy()})["output"]
    assert np.allclose(found, module(sequence(3, 8)).detach().numpy(), atol=2e-6)
    assert parametrize.is_parametrized(module.turn)
