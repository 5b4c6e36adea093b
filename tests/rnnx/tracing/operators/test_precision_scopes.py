import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.rnnx.tracing.small_models import Forward, sequence
from torch import Tensor
from torch.amp.autocast_mode import autocast

from rnnx.errors import ExportError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model
from rnnx.tracing.operators.precision_scopes import AUTOCAST_NOTE, without_autocast

OPTIONS = ModelOptions(input_names=("x",))


def _in_half(self: Forward, x: Tensor) -> Tensor:
    output: Tensor = self.lstm(x)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):  # no CPU without AVX-512 runs the layer itself so
        return output @ torch.eye(8)


def _layer_in_half(self: Forward, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output: Tensor = self.lstm(x)[0]
    return output


def _product() -> torch.dtype:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


@pytest.mark.parametrize("forward", [_in_half, _layer_in_half])
def test_autocast_is_left_out_and_noted(forward: Any, tmp_path: Path) -> None:
    if forward is _layer_in_half:
        try:
            Forward(forward)(sequence(2, 4))
        except RuntimeError as error:
            pytest.skip(f"this CPU runs no LSTM in bfloat16: {error}")
    report = export_model(Forward(forward).eval(), (sequence(2, 4),), tmp_path / "m.onnx", OPTIONS)
    assert [spec.dims for spec in report.contract.inputs] == [("B", "T", 5)]
    assert [spec.dtype for spec in report.contract.outputs] == ["float32"]
    assert report.notes == (AUTOCAST_NOTE,)


def test_autocast_works_in_other_threads_and_afterwards() -> None:
    found: list[torch.dtype] = []
    before = (autocast.__enter__, autocast.__exit__)
    with without_autocast() as notes:
        thread = threading.Thread(target=lambda: found.append(_product()))
        thread.start()
        thread.join()
        found.append(_product())
        with torch.autocast("cpu", enabled=False):
            pass
    assert found == [torch.bfloat16, torch.float32]
    assert notes == [AUTOCAST_NOTE]
    assert (autocast.__enter__, autocast.__exit__) == before
    assert _product() == torch.bfloat16


def test_a_result_in_half_precision_is_refused(tmp_path: Path) -> None:
    module = Forward(lambda self, x: self.lstm(x)[0].bfloat16()).eval()
    with pytest.raises(ExportError, match=r"output 'output': got bfloat16, expected float32"):
        export_model(module, (sequence(2, 4),), tmp_path / "m.onnx", OPTIONS)
