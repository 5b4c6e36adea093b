from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.small_models import sequence
from torch import Tensor, nn

from rnnx.tracing.eager import EagerModel
from rnnx.tracing.exporting import export_model
from rnnx.tracing.operators.float_dtypes import copied, in_dtype, reading_floats
from rnnx.tracing.signature import read_signature
from rnnx_runtime import load


class Scaled(nn.Module):
    """Names a dtype in every way that forward can, beside plain tensors as attributes."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.gru = dtype, nn.GRU(5, 8, batch_first=True)
        self.shift, self._scales = torch.linspace(-1, 1, 5, dtype=dtype), [torch.full((5,), 0.5, dtype=dtype)]
        self.gains = {"gain": torch.ones(8, dtype=dtype)}
        self.table = np.linspace(0, 1, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.shift) * self._scales[0] + torch.from_numpy(self.table).to(self.dtype)
        name = {torch.float32: "FloatTensor", torch.float64: "DoubleTensor"}.get(self.dtype, "BFloat16Tensor")
        state = torch.zeros(1, x.size(0), 8, dtype=self.dtype).type(getattr(torch, name))
        y: Tensor = self.gru(x.type(f"torch.{name}"), state)[0]
        result: Tensor = y * self.gains["gain"] + getattr(torch, name)([1.0])
        return result


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16], ids=["float32", "float64", "bfloat16"]
)
def test_a_module_is_exported_in_float32_whatever_dtype_its_code_names(dtype: torch.dtype, tmp_path: Path) -> None:
    module, x = Scaled(dtype).to(dtype).eval(), sequence(2, 4).to(dtype)
    try:
        module(x)
    except RuntimeError as error:
        pytest.skip(f"this CPU runs no GRU in {dtype}: {error}")
    report = export_model(module, (x,), tmp_path / "m.onnx")
    name = str(dtype).removeprefix("torch.")
    expected = () if dtype == torch.float32 else (f"parameters of {name}: exported in float32, inputs and outputs too",)
    assert report.notes == expected
    assert {spec.dtype for spec in (*report.contract.inputs, *report.contract.outputs)} == {"float32"}
    wide = Scaled(torch.float64)
    wide.load_state_dict({key: value.double() for key, value in module.state_dict().items()})
    x = sequence(3, 7)
    with load(report.path, "ort-cpu") as session:
        found = session.run(x.numpy())[0]
    assert np.allclose(found, wide.double()(x.double()).detach().numpy(), atol=1e-6)
    assert module.shift.dtype == next(module.parameters()).dtype == dtype


def test_the_truth_of_a_float32_model_is_float64_to_the_last_bit() -> None:
    module = Scaled(torch.float32).eval()
    signature, (x,) = read_signature(module, (sequence(2, 4),))
    truth = EagerModel(module, signature).outputs({"x": x.numpy()}, torch.float64)["output"]
    with reading_floats(wide := in_dtype(module, torch.float64), torch.float64):
        expected = wide(x.double())
    assert truth.dtype == np.float64
    assert np.array_equal(truth, expected.detach().numpy())
    assert np.abs(truth - module(x).detach().numpy()).max() > 0


def test_what_numpy_made_takes_part_and_can_be_written_into() -> None:
    made = torch.from_numpy(np.zeros((2, 3), dtype=np.float32))
    with reading_floats(nn.Linear(2, 2), torch.float64):
        made[0] = torch.ones(3, dtype=torch.float64)
        made[1].add_(torch.full((3,), 2.0, dtype=torch.float64))
        joined = made @ torch.ones(3, 1, dtype=torch.float64)
        seen: Any = made.dtype
    assert joined.dtype == seen == torch.float64
    assert joined.flatten().tolist() == [3.0, 6.0]
    assert made.dtype == torch.float32


def test_float64_in_the_code_of_a_float32_module_stays() -> None:
    with reading_floats(nn.Linear(2, 2), torch.float32):
        assert torch.ones(2).double().dtype == torch.float64


def _doubled(x: Tensor) -> Tensor:
    return x * 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit.script itself
def test_a_copy_shares_scripted_functions_and_takes_computed_weights_as_values() -> None:
    module = nn.Linear(2, 2)
    act: Any = torch.jit.script(_doubled)
    module.act, module.computed = act, module.weight * 2
    copy: Any = copied(module)
    assert copy.act is act
    assert copy.computed.is_leaf
    assert torch.equal(copy.computed, module.weight * 2)
