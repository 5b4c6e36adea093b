from pathlib import Path
from typing import Any

import pytest
import torch
from tests.rnnx.tracing.small_models import Forward, sequence
from torch import Tensor

from rnnx.errors import ExportError, FrozenDimError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model


def _batch_in_view(self: Any, x: Tensor) -> Tensor:
    result: Tensor = self.lstm(x)[0].reshape(3, -1)
    return result


def _batch_of_zeros(self: Any, x: Tensor) -> Tensor:
    result: Tensor = self.lstm(x, (torch.zeros(1, 3, 8), torch.zeros(1, 3, 8)))[0]
    return result


def _time_in_view(self: Any, x: Tensor) -> Tensor:
    result: Tensor = self.lstm(x.view(-1, 7, 5))[0]
    return result


def _time_of_a_table(self: Any, x: Tensor) -> Tensor:
    result: Tensor = self.lstm(x + torch.ones(7, 5))[0]
    return result


FROZEN = {
    "view-batch": (_batch_in_view, "axis 0", "reshape(3, -1)"),
    "zeros-batch": (_batch_of_zeros, "axis 0", "torch.zeros(1, 3, 8)"),
    "view-time": (_time_in_view, "axis 1", "view(-1, 7, 5)"),
    "table-time": (_time_of_a_table, "axis 1", "torch.ones(7, 5)"),
}


@pytest.mark.parametrize(("forward", "axis", "code"), FROZEN.values(), ids=FROZEN)
def test_a_frozen_dim_is_told_with_the_models_line(forward: Any, axis: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(FrozenDimError) as refused:
        export_model(Forward(forward).eval(), (sequence(3, 7),), tmp_path / "frozen.onnx", _NAMED)
    assert axis in refused.value.subject
    assert __file__ in refused.value.got
    assert code in refused.value.got


def _cell_over_indices(self: Any, x: Tensor) -> Tensor:
    state = None
    for step in range(x.size(1)):
        state = self.cell(x[:, step], state)
    result: Tensor = state[0]  # type: ignore[index]
    return result


def test_a_long_loop_around_a_cell_is_not_copied_as_often(tmp_path: Path) -> None:
    options = ModelOptions(static=True, input_names=("x",))
    with pytest.raises(ExportError, match="more than 64 calls"):
        export_model(Forward(_cell_over_indices).eval(), (sequence(2, 100),), tmp_path / "long.onnx", options)


def test_one_step_of_a_decoder_is_no_frozen_time(tmp_path: Path) -> None:
    module = Forward(lambda self, x: self.lstm(x.unsqueeze(1))[0][:, 0]).eval()
    report = export_model(module, (torch.randn(2, 5),), tmp_path / "step.onnx", _NAMED)
    assert report.contract.inputs[0].dims == ("B", 5)


_NAMED = ModelOptions(input_names=("x",))


def test_the_remedy_is_for_the_line_that_fixes_the_size(tmp_path: Path) -> None:
    def forward(self: Any, x: Tensor) -> Any:
        return self.lstm(x, (torch.zeros(1, int(x.size(0)), 8),) * 2)[0]

    options = ModelOptions(input_names=("x",))
    with pytest.raises(FrozenDimError, match=r"write x.size\(...\) without int\(\) around it"):
        export_model(Forward(forward).eval(), (sequence(3, 7),), tmp_path / "m.onnx", options)


@pytest.mark.parametrize("channels", [3, 12], ids=["few", "more-than-a-loop-is-cut-to"])
def test_a_loop_over_channels_is_no_frozen_dim(channels: int, tmp_path: Path) -> None:
    module = Forward(lambda self, x: torch.stack([self.lstm(x[:, place])[0] for place in range(x.size(1))], 1)).eval()
    options = ModelOptions(input_names=("x",))
    report = export_model(module, (torch.randn(2, channels, 9, 5),), tmp_path / "m.onnx", options)
    assert report.contract.inputs[0].dims == ("B", channels, "T", 5)


def test_the_line_to_copy_has_the_sizes_of_the_example(tmp_path: Path) -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        for step in range(x.size(1)):
            seen.append(self.lstm(x[:, step : step + 1])[0] + sum(seen))
        return torch.cat(seen, 1)

    with pytest.raises(FrozenDimError, match=r"--input x:float32:.*12,5"):
        export_model(Forward(forward).eval(), (sequence(2, 12),), tmp_path / "m.onnx", ModelOptions(input_names=("x",)))


def test_the_parts_of_a_state_are_no_loop_over_a_batch_of_as_many_rows(tmp_path: Path) -> None:
    def forward(self: Any, x: Tensor, state: Tensor) -> Any:
        h, c = state.unbind(0)
        output, last = self.lstm(x, (h.contiguous(), c.contiguous()))
        return output, torch.stack(last)

    options = ModelOptions(input_names=("x", "state"))
    report = export_model(
        Forward(forward).eval(), (sequence(2, 7), torch.zeros(2, 1, 2, 8)), tmp_path / "m.onnx", options
    )
    assert report.contract.inputs[1].dims == (2, 1, "B", 8)
    assert [pair.input for pair in report.contract.states] == ["state"]
