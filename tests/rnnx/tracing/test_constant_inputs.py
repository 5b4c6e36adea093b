from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.small_models import sequence
from torch import Tensor, nn

from rnnx.errors import ExportError, OptionError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.constant_inputs import of_inputs_left, with_constants
from rnnx.tracing.contract_call import calls_of_contract
from rnnx.tracing.exporting import export_model
from rnnx.tracing.signature import read_signature


class Policy(nn.Module):
    """Branches on what a deployment never changes."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, batch_first=True)

    def forward(self, x: Tensor, h: Tensor, c: Tensor, starts: Tensor, flag: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = self.lstm(x, (h, c))
        if torch.all(starts == 0.0):
            y = y + 1
        if flag:
            y = y * 2
        return y + flag.float(), h, c


def example(flag: bool = False) -> tuple[Tensor, ...]:
    state = torch.zeros(1, 2, 8)
    return sequence(2, 4), state, state.clone(), torch.zeros(3), torch.tensor([flag])


@pytest.mark.parametrize("flag", ["true", False], ids=["text", "value"])
def test_a_constant_takes_the_branch_of_its_value_and_is_no_input(flag: Any, tmp_path: Path) -> None:
    module, options = Policy().eval(), ModelOptions(constants={"starts": "0", "flag": flag})
    report = export_model(module, example(), tmp_path / "m.onnx", options)
    assert [spec.name for spec in report.contract.inputs] == ["x", "h", "c"]
    assert report.notes == ("input starts is fixed at 0", f"input flag is fixed at {flag}")
    import onnxruntime

    session = onnxruntime.InferenceSession(report.path, providers=["CPUExecutionProvider"])
    x, state = sequence(3, 7), torch.zeros(1, 3, 8)
    found = session.run(None, {"x": x.numpy(), "h": state.numpy(), "c": state.numpy()})[0]
    expected = module(x, state, state, torch.zeros(3), torch.tensor([str(flag) == "true"]))[0]
    assert np.allclose(found, expected.detach().numpy(), atol=2e-6)


def test_the_dims_and_lengths_of_a_constant_are_left_out() -> None:
    options = ModelOptions(dims={"x": ("B", "T", None), "n": ("B",)}, lengths=("n",), constants={"n": 3})
    assert (found := of_inputs_left(options)).dims == {"x": ("B", "T", None)}
    assert found.lengths == ()


def test_a_branch_on_an_input_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"control flow.*--constant NAME=VALUE"):
        export_model(Policy().eval(), example(), tmp_path / "m.onnx")


REFUSED: dict[str, tuple[str, str | float, str]] = {
    "unknown": ("nothing", "1", "expected one of x, h, c, starts, flag"),
    "state": ("h", "0", "expected an input that is no state"),
    "no-boolean": ("flag", "maybe", "expected true or false, for flag is bool"),
    "no-number": ("starts", "zero", "expected a finite number, for starts is float32"),
    "infinite": ("starts", float("inf"), "expected a finite number"),
}


@pytest.mark.parametrize(("name", "value", "expected"), REFUSED.values(), ids=REFUSED)
def test_a_constant_that_does_not_fit_is_refused(name: str, value: Any, expected: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as refused:
        export_model(Policy().eval(), example(), tmp_path / "m.onnx", ModelOptions(constants={name: value}))
    assert refused.value.subject == f"constants {name}"
    assert expected in str(refused.value)


def test_whole_numbers_keep_within_their_dtype_and_one_input_is_left() -> None:
    signature, tensors = read_signature(nn.Identity(), (torch.zeros(2, dtype=torch.int32),))
    for value, expected in (("1.5", "a whole number"), (str(2**31), "a whole number"), ("3", "an input that is left")):
        with pytest.raises(OptionError, match=f"expected {expected}"):
            with_constants(signature, tensors, {"input": value})


def test_verify_calls_the_module_with_its_own_example_for_what_the_contract_lacks(tmp_path: Path) -> None:
    module, options = Policy().eval(), ModelOptions(constants={"starts": 0, "flag": True})
    contract = export_model(module, example(), tmp_path / "m.onnx", options).contract
    feeds = {spec.name: value.numpy() for spec, value in zip(contract.inputs, example(), strict=False)}
    signature, tensors = calls_of_contract(module, example(flag=True), contract, feeds)[0]
    assert torch.equal(signature.call(module, [*tensors.values()])[0], module(*example(flag=True))[0])
