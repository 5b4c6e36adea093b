from pathlib import Path
from typing import Any

import pytest
import torch
from tests.rnnx.tracing.small_models import Forward, sequence
from torch import Tensor

from rnnx.errors import FrozenDimError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model


def _attended(self: Any, x: Tensor) -> Tensor:
    v = x[:, 1:]
    result: Tensor = self.lstm(torch.matmul(torch.matmul(v, v.mT).softmax(2), v))[0]
    return result


def test_one_row_in_the_example_is_not_all_there_can_be(tmp_path: Path) -> None:
    options = ModelOptions(input_names=("x",))
    report = export_model(Forward(_attended).eval(), (sequence(1, 6),), tmp_path / "m.onnx", options)
    assert report.contract.inputs[0].dims == ("B", "T", 5)


def _step(self: Any, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    state: tuple[Tensor, Tensor] = self.cell(x.reshape(-1, 5), (h, c))
    return state


@pytest.mark.parametrize("batch", [1, 2], ids=["one-row", "two-rows"])
def test_a_batch_that_a_view_makes_of_several_sizes_is_free(batch: int, tmp_path: Path) -> None:
    example = (torch.randn(batch, 1, 1, 5), torch.randn(batch, 8), torch.randn(batch, 8))
    options = ModelOptions(input_names=("x", "h", "c"))
    report = export_model(Forward(_step).eval(), example, tmp_path / "m.onnx", options)
    assert [spec.dims[0] for spec in report.contract.inputs] == ["B"] * 3


def _positions(self: Any, x: Tensor, memory: Tensor) -> Tensor:
    h, _ = self.cell(x)
    scores = torch.einsum("bd,btd->bt", h, memory) + torch.tensor(range(memory.size(1)))
    return torch.einsum("bt,btd->bd", scores.softmax(-1), memory)


def _looped(self: Any, x: Tensor, memory: Tensor) -> Tensor:
    h, _ = self.cell(x)
    return torch.stack([(h * memory[:, place]).sum(-1) for place in range(memory.size(1))], 1)


def test_a_memory_is_not_fixed_in_silence(tmp_path: Path) -> None:
    options = ModelOptions(input_names=("x", "memory"))
    example = (torch.randn(2, 5), torch.randn(2, 9, 8))
    with pytest.raises(FrozenDimError) as refused:
        export_model(Forward(_positions).eval(), example, tmp_path / "m.onnx", options)
    assert "input 'memory' axis 1" in refused.value.subject
    assert "range(" in refused.value.got
    assert "write torch.arange(n)" in refused.value.remedy
    fixed = ModelOptions(input_names=("x", "memory"), dims={"memory": ("B", None, None)})
    report = export_model(Forward(_positions).eval(), example, tmp_path / "m.onnx", fixed)
    assert report.contract.inputs[1].dims == ("B", 9, 8)


def test_a_loop_over_a_memory_leaves_it_free(tmp_path: Path) -> None:
    options = ModelOptions(input_names=("x", "memory"))
    example = (torch.randn(2, 5), torch.randn(2, 9, 8))
    report = export_model(Forward(_looped).eval(), example, tmp_path / "m.onnx", options)
    assert isinstance(report.contract.inputs[1].dims[1], str)


def test_a_channel_that_the_weights_fix_does_not_fix_the_length(tmp_path: Path) -> None:
    def convolved(self: Any, x: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(x, (0, -(-x.size(2) // 4) * 4 - x.size(2)))
        kernel = torch.ones(5, 1, 4)
        result: Tensor = self.lstm(torch.nn.functional.conv1d(padded, kernel, stride=4).mT)[0]
        return result

    options = ModelOptions(input_names=("x",))
    report = export_model(Forward(convolved).eval(), (torch.randn(2, 1, 30),), tmp_path / "m.onnx", options)
    assert report.contract.inputs[0].dims == ("B", 1, "T")
