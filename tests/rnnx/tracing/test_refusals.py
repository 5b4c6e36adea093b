"""Models and examples that cannot be exported: each one error that says what to write instead."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.rnnx.tracing.small_models import Forward, Tagger, lengths_of, sequence, tagger_inputs
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

from rnnx.errors import ExportError, OptionError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model


def _branch(self: Any, x: Tensor) -> Tensor:
    result: Tensor = self.lstm(x)[0]
    if result.sum() > 0:
        return result
    return -result


def _slice(self: Any, x: Tensor) -> Tensor:
    result: Tensor = self.lstm(x[:, : int(x.abs().sum())])[0]
    return result


def _list(self: Any, x: Tensor) -> Tensor:
    result: Tensor = self.lstm(pack_sequence([x[0], x[1]]))[1][0]
    return result


def _sizes(self: Any, x: Tensor) -> Tensor:
    packed = pack_padded_sequence(x, torch.full((x.size(0),), 2), batch_first=True)
    total: Tensor = self.lstm(packed)[0].batch_sizes.sum()
    return total


def _packed_result(self: Any, x: Tensor) -> Any:
    return self.lstm(pack_padded_sequence(x, torch.full((x.size(0),), 2), batch_first=True))[0]


def _no_tensor(self: Any, x: Tensor) -> Any:
    return self.lstm(x)[0], 3


def _no_onnx(self: Any, x: Tensor) -> Tensor:
    values: Tensor = torch.linalg.svd(self.lstm(x)[0])[1]
    return values


def _raises(self: Any, x: Tensor) -> Tensor:
    raise ValueError("the model's own words")


def _hidden(self: Any, x: Tensor) -> Tensor:
    result: Tensor = nn.LSTM(5, 8, batch_first=True)(x)[0]
    return result


MODELS = {
    "branch": (_branch, "depends on the values", "if result.sum() > 0"),
    "slice": (_slice, "depends on the values", "int(x.abs().sum())"),
    "pack-sequence": (_list, "list of tensors", "pack_padded_sequence"),
    "batch-sizes": (_sizes, "its value read", "lengths tensor"),
    "packed-result": (_packed_result, "a PackedSequence", "pad_packed_sequence"),
    "number-result": (_no_tensor, "a int", "return tensors alone"),
    "no-onnx-operator": (_no_onnx, "linalg_svd", "small_models.py, line"),
    "raises": (_raises, "ValueError: the model's own words", "raise ValueError"),
    "hidden-layer": (_hidden, "no submodule", "nn.ModuleList"),
}


@pytest.mark.parametrize(("forward", "got", "also"), MODELS.values(), ids=MODELS)
def test_a_model_is_refused_with_its_line_or_a_remedy(forward: Any, got: str, also: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError) as refused:
        export_model(Forward(forward).eval(), (sequence(2, 3),), tmp_path / "m.onnx", ModelOptions(input_names=("x",)))
    assert got in refused.value.got
    assert also in str(refused.value)
    assert list(tmp_path.iterdir()) == []


class _Remembering(nn.Module):
    def __init__(self, *, buffer: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 8, batch_first=True)
        if buffer:
            self.register_buffer("last", torch.zeros(1, 1, 8))
        else:
            self.last = torch.zeros(1, 1, 8)
        self.buffered = buffer

    def forward(self, x: Tensor) -> Tensor:
        output, (h, _) = self.lstm(x + self.last.sum())
        if self.buffered:
            self.last.copy_(h.mean(1, keepdim=True))
        else:
            self.last = h.mean(1, keepdim=True)
        result: Tensor = output
        return result


@pytest.mark.parametrize("buffer", [True, False], ids=["buffer", "attribute"])
def test_state_kept_in_the_model_is_refused_and_put_back(buffer: bool, tmp_path: Path) -> None:
    module = _Remembering(buffer=buffer).eval()
    kept = module.last
    with pytest.raises(ExportError, match=r"\.last: got a tensor that forward changes and reads"):
        export_model(module, (sequence(2, 3),), tmp_path / "kept.onnx")
    assert module.last is kept


def _traced() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced: Any = torch.jit.trace
        trace: nn.Module = traced(nn.LSTM(5, 8).eval(), sequence(2, 3))
    return trace


def _quantized() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize: Any = torch.ao.quantization.quantize_dynamic
        small: nn.Module = quantize(nn.Sequential(nn.LSTM(5, 8)).eval(), {nn.LSTM})
    return small


UNFIT = {
    "training": (lambda: Tagger(), "training mode", "model.eval()"),
    "dropout-in-training": (lambda: _partly_training(), "training mode", "model.eval()"),
    "batch-norm": (
        lambda: nn.Sequential(nn.BatchNorm1d(5, track_running_stats=False), nn.LSTM(5, 8)).eval(),
        "without running statistics",
        "LayerNorm",
    ),
    "traced": (_traced, "a scripted module", "state_dict()"),
    "quantized": (_quantized, "torch.ao", "float model"),
    "meta": (lambda: nn.LSTM(5, 8, device="meta").eval(), "no values", "load the state dict"),
}


def _partly_training() -> nn.Module:
    module = nn.Sequential(nn.LSTM(5, 8), nn.Dropout()).eval()
    module[1].train()
    return module


@pytest.mark.parametrize(("make", "got", "remedy"), UNFIT.values(), ids=UNFIT)
def test_an_unfit_module_is_refused(make: Any, got: str, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError) as refused:
        export_model(make(), (sequence(2, 3),), tmp_path / "unfit.onnx")
    assert got in refused.value.got
    assert remedy in refused.value.remedy


@pytest.mark.parametrize(
    ("inputs", "got", "remedy"),
    [
        ((tagger_inputs(2, 3)[0],), "missing a required argument", "no default"),
        (tagger_inputs(2, 3)[0], "a Tensor", "(x,)"),
        ((*tagger_inputs(2, 3), 1), "too many positional", "no default"),
        ((), "missing a required argument", "no default"),
        ({"tokens": tagger_inputs(2, 3)[0], "size": 3}, "missing a required argument", "no default"),
        ((tagger_inputs(2, 3)[0], object()), "a object", "give a tensor"),
    ],
    ids=["missing", "no-tuple", "too-many", "none", "unknown", "object"],
)
def test_an_example_that_forward_does_not_take_is_refused(inputs: Any, got: str, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as refused:
        export_model(Tagger().eval(), inputs, tmp_path / "example.onnx")
    assert got in refused.value.got
    assert remedy in refused.value.remedy


def test_lengths_of_zero_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="lengths of 1 at least"):
        export_model(Tagger().eval(), (tagger_inputs(2, 3)[0], torch.tensor([0, 3])), tmp_path / "zero.onnx")


def test_inputs_without_names_need_some(tmp_path: Path) -> None:
    module = Forward(lambda self, a, b: self.lstm(a + b)[0]).eval()
    with pytest.raises(OptionError, match=r"input_names: got none for 2 inputs"):
        export_model(module, (sequence(2, 3), sequence(2, 3)), tmp_path / "unnamed.onnx")


def test_lengths_of_another_integer_type_are_taken_as_int64(tmp_path: Path) -> None:
    report = export_model(
        Tagger().eval(), (tagger_inputs(3, 4)[0].int(), lengths_of(3, 4).int()), tmp_path / "int.onnx"
    )
    assert {spec.dtype for spec in report.contract.inputs} == {"int64"}


def test_an_operator_that_torch_onnx_cannot_write_is_named_with_its_line(tmp_path: Path) -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        output: Tensor = torch.special.bessel_j0(self.lstm(x)[0])
        return output

    with pytest.raises(ExportError, match=r"operator aten\.special_bessel_j0.*bessel_j0\(self\.lstm"):
        export_model(Forward(forward).eval(), (sequence(3, 4),), tmp_path / "m.onnx", ModelOptions(input_names=("x",)))
