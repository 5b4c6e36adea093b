from pathlib import Path
from typing import Any

import pytest
import torch
from tests.rnnx.tracing.small_models import Forward, lengths_of, sequence
from torch import Tensor

from rnnx.errors import OptionError
from rnnx.graphs.export_report import ExportReport
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.dims import free_axes
from rnnx.tracing.exporting import export_model

TENSORS = (torch.zeros(2, 3, 5), torch.zeros(2))


def test_axes_are_free_but_where_the_options_fix_them() -> None:
    def free(options: ModelOptions) -> tuple[tuple[bool, ...], ...]:
        return free_axes(("x", "lengths"), TENSORS, options)

    assert free(ModelOptions()) == ((True, True, True), (True,))
    assert free(ModelOptions(dims={"x": ("B", None, None)})) == ((True, False, False), (True,))
    assert free(ModelOptions(static=True)) == ((False, False, False), (False,))


@pytest.mark.parametrize("dims", [{"y": ("B",)}, {"lengths": ("B", "T")}], ids=["unknown", "too-many"])
def test_dims_that_fit_no_input_are_refused(dims: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(OptionError, match=r"expected x of 3, lengths of 1"):
        free_axes(("x", "lengths"), TENSORS, ModelOptions(dims=dims))


def _report(tmp_path: Path, forward: Any, inputs: tuple[Tensor, ...], *names: str, dims: Any = None) -> ExportReport:
    options = ModelOptions(input_names=names, dims=dims or {})
    return export_model(Forward(forward).eval(), inputs, tmp_path / "m.onnx", options)


def _picked(self: Any, x: Tensor, lengths: Tensor) -> Tensor:
    output: Tensor = self.lstm(x)[0]
    return output.gather(1, (lengths - 1).view(-1, 1, 1).expand(-1, 1, 8)).squeeze(1)


def test_a_first_axis_of_the_batchs_size_is_the_batch_and_said_so(tmp_path: Path) -> None:
    report = _report(tmp_path, _picked, (sequence(3, 4), lengths_of(3, 4)), "x", "lengths")
    assert [spec.dims for spec in report.contract.inputs] == [("B", "T", 5), ("B",)]
    assert [note.split(",")[0] for note in report.notes] == ["axis 0 of lengths is taken for the batch"]


@pytest.mark.parametrize("by_hand", [False, True], ids=["another-size", "by-hand"])
def test_a_first_axis_of_another_size_or_name_is_none(by_hand: bool, tmp_path: Path) -> None:
    rows = 3 if by_hand else 2
    dims = {"lengths": ("N",)} if by_hand else {}
    report = _report(tmp_path, _picked, (sequence(3, 4), lengths_of(rows, 4)), "x", "lengths", dims=dims)
    assert [spec.dims for spec in report.contract.inputs] == [("B", "T", 5), ("N" if by_hand else "D1",)]
    assert report.notes == ()


def test_a_name_for_an_axis_that_the_model_fixes_is_refused_with_its_size(tmp_path: Path) -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        output: Tensor = self.lstm(x)[0]
        return output

    with pytest.raises(OptionError, match=r"fixes it at 5; fix the axis \(5 in place of I in --input"):
        _report(tmp_path, forward, (sequence(3, 4),), "x", dims={"x": ("B", "T", "I")})


def test_the_model_says_how_far_a_dim_may_go(tmp_path: Path) -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        output: Tensor = self.lstm(x if x.size(1) <= 50 else x * 2)[0]
        return output

    report = _report(tmp_path, forward, (sequence(2, 4),), "x")
    (note,) = report.notes
    assert note.startswith("T is at most 50, and the runtime refuses other sizes")
    assert "x.size(1) <= 50" in note
