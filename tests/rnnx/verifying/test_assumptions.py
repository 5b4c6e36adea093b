"""A plain RNN of another exporter: what it applies is said by its graph alone, and so proved by nothing."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import nn

import rnnx
from rnnx.cli import group
from rnnx.errors import OptionError
from rnnx.runners.verify_options import VerifyOptions
from rnnx.verifying.assumptions import NONLINEARITY

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture
def relu(tmp_path: Path) -> Path:
    """A file whose graph applies ReLU; its weights say nothing of it."""
    torch.manual_seed(0)
    save_file(nn.RNN(5, 8).state_dict(), tmp_path / "weights.safetensors")
    rnnx.export(tmp_path / "weights.safetensors", tmp_path / "model.onnx", rnnx.ExportOptions(nonlinearity="relu"))
    model = onnx.load(tmp_path / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "theirs.onnx")
    return tmp_path / "theirs.onnx"


def _options(path: Path, **others: Any) -> VerifyOptions:
    return VerifyOptions(
        checkpoint=path.with_name("weights.safetensors"), latency=False, backends=("ort-cpu",), **others
    )


def test_what_only_the_graph_says_is_told_in_the_verdict(relu: Path) -> None:
    report = rnnx.verify(relu, _options(relu))
    assert report
    (finding,) = (own for own in report.findings if own.rule == NONLINEARITY)
    assert finding.severity == "warning"
    assert "computed with relu, as the graph has it, which nn.RNN applies only where it was told to" in finding.message
    call = ["verify", str(relu), "--checkpoint", str(relu.with_name("weights.safetensors")), "--no-latency"]
    shown = CliRunner().invoke(group, [*call, "--backend", "ort-cpu"])
    assert "NOT proved: the truth is computed with relu" in " ".join(shown.stdout.split())


def test_a_nonlinearity_that_is_given_is_the_truths(relu: Path) -> None:
    right = rnnx.verify(relu, _options(relu, nonlinearity="relu"))
    assert right
    assert NONLINEARITY not in {own.rule for own in right.findings}
    wrong = rnnx.verify(relu, _options(relu, nonlinearity="tanh"))
    assert not wrong
    assert [(own.cause, own.summary.rpartition(": ")[2]) for own in wrong.diagnoses] == [
        ("wrong-activation", "relu in place of tanh")
    ]


def test_another_nonlinearity_is_refused(relu: Path) -> None:
    with pytest.raises(OptionError, match=r"nonlinearity: got 'gelu', expected tanh \| relu"):
        rnnx.verify(relu, _options(relu, nonlinearity="gelu"))
