"""Files of other exporters adopted with a truth of PyTorch's: a checkpoint's layer, or a module."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from tests.rnnx.processed_files import halve_all
from torch import Tensor, nn

import rnnx
from rnnx import AdoptOptions, AdoptReport
from rnnx.errors import AdoptionError, CheckpointError, FactoryError, OptionError
from rnnx.runners.verify_options import VerifyOptions
from rnnx.truths.model_golden import read_model_golden

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

NAMES = {"x": "feats", "h0": "h_in", "c0": "c_in", "output": "y", "hn": "h_out", "cn": "c_out"}
AXES = {"feats": {0: "time", 1: "batch"}, "y": {0: "time", 1: "batch"}}
AXES |= {name: {1: "batch"} for name in ("h_in", "c_in", "h_out", "c_out")}


class Carrying(nn.Module):
    """An LSTM whose states are arguments and results; a scale other than 1 makes it more than a layer."""

    def __init__(self, seed: int = 0, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.lstm, self.scale = nn.LSTM(5, 8), scale

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = self.lstm(x, (h, c))
        return y if self.scale == 1 else y * self.scale, h, c


class Fewer(Carrying):
    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        return super().forward(x, h, c)[:2]


def exported(module: nn.Module, path: Path) -> Path:
    example = (torch.randn(4, 2, 5), torch.randn(1, 2, 8), torch.randn(1, 2, 8))
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            module,
            example,
            path,
            dynamo=False,
            input_names=list(NAMES.values())[:3],
            output_names=list(NAMES.values())[3:],
            dynamic_axes=AXES,
        )
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`theirs.onnx` of a layer, `scaled.onnx` of more than one, the checkpoint of both, and two of other layers."""
    found = tmp_path_factory.mktemp("theirs")
    exported(Carrying().eval(), found / "theirs.onnx")
    exported(Carrying(scale=1.5).eval(), found / "scaled.onnx")
    save_file(Carrying().state_dict(), found / "own.safetensors")
    save_file(Carrying(seed=1).state_dict(), found / "other.safetensors")
    save_file({f"lstm.{key}": value for key, value in nn.LSTM(5, 7).state_dict().items()}, found / "small.safetensors")
    return found


Adopter = Callable[..., AdoptReport]


@pytest.fixture
def adopter(folder: Path, tmp_path: Path) -> Adopter:
    def adopt(source: str = "theirs.onnx", checkpoint: str | None = None, **options: Any) -> AdoptReport:
        weights: dict[str, Any] = {} if checkpoint is None else {"checkpoint": folder / checkpoint, "names": NAMES}
        return rnnx.adopt(folder / source, tmp_path / "ours.onnx", AdoptOptions(**(weights | options)))

    return adopt


def test_a_checkpoints_layer_is_the_truth(adopter: Adopter) -> None:
    report = adopter(checkpoint="own.safetensors")
    contract = report.contract
    assert (contract.truth, contract.source.file, contract.source.module) == ("float64", "own.safetensors", "lstm")
    assert [spec.name for spec in contract.inputs] == ["feats", "h_in", "c_in"]
    assert contract.streaming.kind == "exact"
    layer = Carrying().double().lstm
    for entry in read_model_golden(report.golden, contract).entries:
        feats, h, c = (torch.from_numpy(entry.case.feeds[name]).double() for name in ("feats", "h_in", "c_in"))
        y, (h, c) = layer(feats, (h, c))
        for name, value in {"y": y, "h_out": h, "c_out": c}.items():
            assert np.allclose(entry.truth[name], value.detach().numpy(), rtol=0, atol=1e-14)
            assert 0 < entry.float32_error[name] < 1e-5
    verification = rnnx.verify(report.path, VerifyOptions(latency=False, backends=("ort-cpu",)))
    assert verification
    assert verification.truth == "golden file ours.golden.npz, PyTorch in float64"
    assert verification.yardstick == "PyTorch"


def test_a_module_is_the_truth_and_verifies_the_model_afterwards(adopter: Adopter) -> None:
    module = Carrying(scale=1.5).eval()
    report = adopter("scaled.onnx", model=module)
    assert (report.contract.truth, report.contract.source.file) == ("float64", "Carrying")
    options = VerifyOptions(latency=False, backends=("ort-cpu", "pytorch-cpu"), model=module)
    verification = rnnx.verify(report.path, options)
    assert verification
    assert verification.truth == "module Carrying, PyTorch in float64"
    with pytest.raises(FactoryError, match=r"got weights with sha256 .*, the weights that the model was exported from"):
        rnnx.verify(report.path, VerifyOptions(latency=False, model=Carrying(seed=1).eval()))


FACTORY = """import torch
from torch import nn

class Carrying(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 8)

    def forward(self, x, h, c):
        y, (h, c) = self.lstm(x, (h, c))
        return y, h, c

def build():
    return Carrying()
"""


def test_a_checkpoint_beside_a_factory_is_loaded_into_its_module(
    adopter: Adopter, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "carrying_code.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    factory = "carrying_code:build"
    assert adopter(checkpoint="own.safetensors", names={}, model=factory).contract.source.file == "Carrying"
    options = VerifyOptions(latency=False, backends=("ort-cpu",), checkpoint=folder / "own.safetensors", model=factory)
    report = rnnx.verify(folder / "theirs.onnx", options)
    assert report
    assert report.truth.startswith("module carrying_code:build with own.safetensors, PyTorch in float64; theirs.onnx")


@pytest.mark.parametrize(
    ("source", "options", "kind", "message"),
    [
        pytest.param(
            "theirs.onnx",
            {"checkpoint": "other.safetensors"},
            AdoptionError,
            r"output 'y' of theirs.onnx at T12 B2: got an error of .*, expected the float64 truth to .* in other",
            id="other-weights",
        ),
        pytest.param(
            "theirs.onnx",
            {"checkpoint": "small.safetensors"},
            CheckpointError,
            r"tensor 'h_in' of theirs.onnx, mapped to h0: got \(1, batch, 8\), expected \(1, B, 7\), by",
            id="other-sizes",
        ),
        pytest.param(
            "scaled.onnx",
            {"checkpoint": "own.safetensors"},
            AdoptionError,
            "output 'y' of scaled.onnx at T12 B2: got an error of",
            id="more-than-the-layer",
        ),
        pytest.param(
            "theirs.onnx",
            {"checkpoint": "own.safetensors", "names": {**NAMES, "h0": "c_in", "c0": "h_in"}},
            AdoptionError,
            "output 'y' of theirs.onnx at T12 B2: got an error of",
            id="states-exchanged",
        ),
        pytest.param(
            "theirs.onnx",
            {"checkpoint": "own.safetensors", "names": {**NAMES, "x": "frames"}},
            OptionError,
            "names for x: got 'frames', expected one of feats, h_in, c_in",
            id="no-such-tensor",
        ),
        pytest.param(
            "theirs.onnx",
            {"checkpoint": "own.safetensors", "names": {}},
            OptionError,
            "got nothing for its input 'feats'.*by position it would be names=",
            id="no-names",
        ),
        pytest.param(
            "theirs.onnx",
            {"checkpoint": "own.safetensors", "names": {name: NAMES[name] for name in ("x", "h0", "c0", "output")}},
            OptionError,
            "the outputs of theirs.onnx: got h_out, c_out besides output",
            id="an-output-that-is-no-layers",
        ),
        pytest.param("theirs.onnx", {"names": NAMES}, OptionError, "names: got no checkpoint", id="no-checkpoint"),
        pytest.param(
            "theirs.onnx",
            {"model": Carrying().eval(), "names": NAMES},
            OptionError,
            "names: got it beside a module, expected it for a layer of a checkpoint",
            id="names-for-a-module",
        ),
        pytest.param(
            "theirs.onnx",
            {"model": Carrying(seed=1).eval()},
            AdoptionError,
            "output 'y' of theirs.onnx at T12 B2: got an error of .*, of module Carrying",
            id="another-module",
        ),
        pytest.param(
            "theirs.onnx",
            {"model": nn.LSTM(6, 8).eval()},
            FactoryError,
            r"expected the module that the file was exported from, \(feats \(T, B, 5\), h_in .*\) → \(y \(T, B, 8\)",
            id="a-module-with-other-inputs",
        ),
        pytest.param(
            "theirs.onnx",
            {"model": Fewer().eval()},
            FactoryError,
            "got other results than y, h_out, c_out: the model has 2, expected",
            id="a-module-with-fewer-outputs",
        ),
    ],
)
def test_what_is_not_the_files_is_refused_and_nothing_written(
    adopter: Adopter,
    folder: Path,
    tmp_path: Path,
    source: str,
    options: dict[str, Any],
    kind: type[Exception],
    message: str,
) -> None:
    with pytest.raises(kind, match=message):
        adopter(source, **options)
    assert not list(tmp_path.iterdir())


class Packing(nn.Module):
    """An LSTM over rows of any order of lengths, which torch.onnx writes with a sort in front."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.lstm = nn.LSTM(5, 8, bidirectional=True)

    def forward(self, x: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        packed = nn.utils.rnn.pack_padded_sequence(x, frames, enforce_sorted=False)
        y, (h, c) = self.lstm(packed)
        return nn.utils.rnn.pad_packed_sequence(y, total_length=x.shape[0])[0], h, c


@pytest.fixture(scope="module")
def packing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packing") / "packing.onnx"
    axes = {name: {0: "time", 1: "batch"} for name in ("x", "y")} | {"frames": {0: "batch"}}
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            Packing().eval(),
            (torch.randn(6, 3, 5), torch.tensor([6, 2, 4])),
            path,
            dynamo=False,
            input_names=["x", "frames"],
            output_names=["y", "h", "c"],
            dynamic_axes=axes | {name: {1: "batch"} for name in "hc"},
        )
    save_file(Packing().state_dict(), path.with_name("packing.safetensors"))
    return path


def test_lengths_that_are_sorted_inside_are_found_and_held_to_a_packed_sequence(packing: Path, tmp_path: Path) -> None:
    options = AdoptOptions(
        checkpoint=packing.with_name("packing.safetensors"),
        names={"lengths": "frames", "output": "y", "hn": "h", "cn": "c"},
    )
    contract = rnnx.adopt(packing, tmp_path / "ours.onnx", options).contract
    assert (contract.lengths, contract.truth) == (("frames",), "float64")
    assert rnnx.adopt(packing, tmp_path / "alone.onnx").contract.lengths == ("frames",)


def test_a_file_in_half_is_held_to_its_module_in_float32(folder: Path, tmp_path: Path) -> None:
    model = onnx.load(folder / "theirs.onnx")
    halve_all(model)
    onnx.save(model, tmp_path / "half.onnx")
    contract = rnnx.adopt(
        tmp_path / "half.onnx", tmp_path / "ours.onnx", AdoptOptions(model=Carrying().eval())
    ).contract
    assert ({spec.dtype for spec in contract.inputs}, contract.precision) == ({"float16"}, "float16")


def test_one_scaled_weight_is_refused(adopter: Adopter, folder: Path, tmp_path: Path) -> None:
    model = onnx.load(folder / "theirs.onnx")
    tensor = max(model.graph.initializer, key=lambda own: len(own.raw_data))
    values = numpy_helper.to_array(tensor).copy()
    values.flat[3] *= 1.01
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, folder / "changed.onnx")
    with pytest.raises(AdoptionError, match=r"of changed.onnx at T12 B2: got an error of"):
        adopter("changed.onnx", checkpoint="own.safetensors")
    assert not list(tmp_path.iterdir())
