"""Whom a refusal of torch.onnx blames: the model's line where it names one, else the versions that are installed."""

from importlib.metadata import version
from typing import Any

import onnx_ir
import pytest
import torch
from torch import Tensor, nn

from rnnx.errors import BrokenExtraError, UntracedError
from rnnx.tracing.translation import onnx_from_program

VERSIONS = " with ".join(f"{package} {version(package)}" for package in ("torch", "onnxscript", "onnx-ir", "onnx"))


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sin()


CAUSES: dict[str, Exception] = {
    "missing-module": ModuleNotFoundError("No module named 'onnxscript._framework_apis.torch_2_99'"),
    "missing-name": ImportError("cannot import name 'optimize' from 'onnxscript'"),
    "missing-attribute": AttributeError("module 'onnx_ir' has no attribute 'passes'", name="passes", obj=onnx_ir),
    "other-signature": TypeError("optimize_ir() got an unexpected keyword argument 'inline'"),
    "no-message": ValueError(),
}


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_versions_that_do_not_fit_are_named_and_no_operator_is_blamed(
    monkeypatch: pytest.MonkeyPatch, cause: Exception
) -> None:
    error = refusal(BrokenExtraError, monkeypatch, cause)
    assert error.expected == f"versions that fit together, not {VERSIONS}"
    assert error.remedy == "pip install --upgrade 'rnnx[export]'"
    assert error.got.startswith(f"{type(cause).__name__}: {cause}" if str(cause) else "ValueError: no message")
    assert "write this line" not in str(error)


def test_a_missing_module_is_no_fault_of_the_operator_that_was_being_written(monkeypatch: pytest.MonkeyPatch) -> None:
    outer = RuntimeError("Error when translating node %sin : [num_users=1]")
    outer.__cause__ = CAUSES["missing-module"]
    refusal(BrokenExtraError, monkeypatch, outer)


def test_an_operator_that_is_named_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(UntracedError, monkeypatch, RuntimeError("no ONNX function for node %sin : [num_users=1]"))
    assert str(error).startswith("operator aten.sin.default, ")
    assert error.remedy == "write this line with other operators"


def refusal(kind: type[Any], monkeypatch: pytest.MonkeyPatch, cause: Exception) -> Any:
    """What is raised where torch.onnx fails because of `cause`."""
    program = torch.export.export(Sine(), (torch.ones(2),))

    def export(*_: object, **__: object) -> None:
        raise torch.onnx.errors.OnnxExporterError("Failed to convert the exported program") from cause

    monkeypatch.setattr(torch.onnx, "export", export)
    with pytest.raises(kind) as caught:
        onnx_from_program(program, 20)
    assert type(caught.value) is kind
    return caught.value
