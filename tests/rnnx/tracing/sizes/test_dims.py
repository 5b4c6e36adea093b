from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.small_models import Forward, lengths_of, sequence
from tests.whole_model import CONTRACT
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import rnnx_runtime
from rnnx.errors import OptionError, UntracedError
from rnnx.graphs.export_report import ExportReport
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model
from rnnx.tracing.sizes.dims import free_axes, refuse_unsolved_dims
from rnnx.truths.model_golden import read_model_golden
from rnnx_runtime.contract import TensorSpec

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


def test_so_is_a_second_axis_where_time_stands_first(tmp_path: Path) -> None:
    def forward(self: Any, x: Tensor, lengths: Tensor) -> Tensor:
        ordered, places = torch.sort(lengths, descending=True)
        packed = pack_padded_sequence(x[:, places].transpose(0, 1), ordered, batch_first=True)
        last: Tensor = self.lstm(packed)[1][0][-1]
        return last[places.argsort()]

    report = _report(tmp_path, forward, (sequence(3, 4).transpose(0, 1), lengths_of(3, 4)), "x", "lengths")
    assert [spec.dims for spec in report.contract.inputs] == [("T", "B", 5), ("B",)]
    assert report.contract.lengths == ("lengths",)
    assert report.notes[0].startswith("axis 1 of x is taken for the batch")


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


def _started(self: Any, x: Tensor, mask: Tensor) -> Tensor:
    output: Tensor = self.lstm(torch.cat([x[:, :1] * 0, x], 1))[0]
    return output * mask.unsqueeze(-1)


def _upsampled(self: Any, x: Tensor, frames: Tensor) -> Tensor:
    output: Tensor = self.lstm(x + frames.repeat_interleave(4, 1)[:, 4:])[0]
    return output


def _rows(self: Any, x: Tensor, h: Tensor) -> Any:
    batch, time, nodes, width = x.shape
    output, (h, _) = self.lstm(x.transpose(1, 2).reshape(batch * nodes, time, width), (h, h))
    return output.view(batch, nodes, time, 8), h


EXPRESSIONS = {
    "one-more": (_started, lambda b, t: [(b, t, 5), (b, t + 1)], [("B", "T", 5), ("B", "T + 1")]),
    "upsampled": (_upsampled, lambda b, t: [(b, 4 * t, 5), (b, t + 1, 5)], [("B", "4*T - 4", 5), ("B", "T", 5)]),
    "rows": (_rows, lambda b, t: [(b, t, 3, 5), (1, 3 * b, 8)], [("B", "T", "D1", 5), (1, "B*D1", 8)]),
}


@pytest.mark.parametrize(("forward", "shapes", "dims"), EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_an_axis_of_an_input_may_be_an_expression_of_others(
    forward: Any, shapes: Any, dims: Any, tmp_path: Path
) -> None:
    def inputs(batch: int, time: int) -> tuple[Tensor, ...]:
        return tuple(torch.randn(shape, generator=torch.Generator().manual_seed(7)) for shape in shapes(batch, time))

    module = Forward(forward).eval()
    report = export_model(module, inputs(2, 9), tmp_path / "m.onnx", ModelOptions(input_names=("x", "y")))
    assert [spec.dims for spec in report.contract.inputs] == dims
    assert len(read_model_golden(report.golden, report.contract).entries) >= 5
    session = rnnx_runtime.load(report.path)

    def run(x: Any, y: Any) -> Any:
        return session.run({"x": x}, {"y": y}) if report.contract.states else session.run({"x": x, "y": y})

    for batch, time in ((1, 2), (3, 4)):
        x, y = (value.numpy() for value in inputs(batch, time))
        with torch.no_grad():
            expected = module(*inputs(batch, time))
        expected = expected[0] if isinstance(expected, tuple) else expected
        found = next(iter(run(x, y)[0].values()))
        assert np.allclose(found, expected.numpy(), atol=2e-6)
    with pytest.raises(rnnx_runtime.InputError, match=r"expected"):
        run(x, np.concatenate([y, y], 1))


def test_widths_that_share_a_weight_are_those_of_the_example(tmp_path: Path) -> None:
    def forward(self: Any, x: Tensor, y: Tensor) -> Tensor:
        output: Tensor = self.lstm(torch.cat([x, y], -1))[0]
        return output

    report = _report(tmp_path, forward, (torch.randn(2, 4, 3), torch.randn(2, 4, 2)), "x", "y")
    assert [spec.dims for spec in report.contract.inputs] == [("B", "T", 3), ("B", "T", 2)]


def test_a_name_for_an_axis_that_follows_another_is_noted(tmp_path: Path) -> None:
    inputs = (torch.randn(2, 9, 5), torch.randn(2, 10))
    report = _report(tmp_path, _started, inputs, "x", "mask", dims={"x": ("B", "T", None), "mask": ("B", "U")})
    assert [spec.dims for spec in report.contract.inputs] == [("B", "T", 5), ("B", "T + 1")]
    assert report.notes == ("U of mask is T + 1: the model wants it so",)


def test_an_input_whose_size_says_nothing_of_its_parts_is_refused() -> None:
    sizes = [
        TensorSpec(name="x", dtype="float32", dims=("B", 5)),
        TensorSpec(name="y", dtype="float32", dims=("S//2",)),
    ]
    with pytest.raises(UntracedError, match=r"input 'y' \(S//2,\): got a size of S//2"):
        refuse_unsolved_dims(replace(CONTRACT, inputs=tuple(sizes)))
