import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.small_models import Forward, sequence
from torch import Tensor

import rnnx_runtime
from rnnx.errors import FrozenDimError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model
from rnnx_runtime import InputError
from rnnx_runtime.contract import SizeRange

_NAMED = ModelOptions(input_names=("x",))


def _longer_than_four(self: Any, x: Tensor) -> Tensor:
    output: Tensor = self.lstm(x)[0]
    return output * 2 if x.size(1) > 4 else output * 3


def test_a_branch_on_a_size_is_a_range_of_the_contract_that_the_session_keeps(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    report = export_model(Forward(_longer_than_four).eval(), (sequence(3, 6),), path, _NAMED)
    assert report.contract.ranges == {"T": SizeRange(min=5)}
    assert any("x.size(1) > 4" in note for note in report.notes)
    with rnnx_runtime.load(path) as session:
        session.run(np.zeros((2, 5, 5), np.float32))
        with pytest.raises(InputError, match="T of at least 5"):
            session.run(np.zeros((2, 4, 5), np.float32))


def _even(self: Any, x: Tensor) -> Tensor:
    if x.size(1) % 2:
        x = torch.nn.functional.pad(x, (0, 0, 0, 1))
    result: Tensor = self.lstm(x)[1][0][-1]
    return result


def test_a_way_that_other_sizes_do_not_go_is_refused_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(FrozenDimError) as refused:
        export_model(Forward(_even).eval(), (sequence(3, 6),), tmp_path / "m.onnx", _NAMED)
    assert "if x.size(1) % 2" in refused.value.got
    assert __file__ in refused.value.got
    assert not list(tmp_path.iterdir())


def test_a_size_that_pytorch_refuses_is_out_of_range(tmp_path: Path) -> None:
    def windowed(self: Any, x: Tensor) -> Tensor:
        result: Tensor = self.lstm(torch.nn.functional.avg_pool1d(x.mT, 5, 1).mT)[0]
        return result

    report = export_model(Forward(windowed).eval(), (sequence(3, 8),), tmp_path / "m.onnx", _NAMED)
    assert report.contract.ranges == {"T": SizeRange(min=5)}


def test_sizes_that_pytorch_has_no_values_at_prove_nothing(tmp_path: Path) -> None:
    def whole_eights(self: Any, x: Tensor) -> Tensor:
        x = x / x.std(1, keepdim=True)  # of one step: NaN
        size = operator.index(-(-x.size(1) // 8)) * 8
        padded = torch.nn.functional.pad(x, (0, 0, 0, size - x.size(1)))
        result: Tensor = self.lstm(padded)[0][:, -1]
        return result

    with pytest.raises(FrozenDimError) as refused:
        export_model(Forward(whole_eights).eval(), (sequence(3, 20),), tmp_path / "m.onnx", _NAMED)
    assert "operator.index" in refused.value.got
