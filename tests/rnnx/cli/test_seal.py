"""`rnnx seal`, and `rnnx verify --like`, from the command line."""

import json
from pathlib import Path

import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from onnx import numpy_helper
from torch import nn

import rnnx
from rnnx.cli import group

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "model.onnx"
    torch.manual_seed(0)
    rnnx.export(nn.GRU(5, 8), path)
    return path


def _unsealed(original: Path, folder: Path, *, scale: float = 1.0) -> Path:
    model = onnx.load(original)
    del model.metadata_props[:]
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * scale, tensor.name))
    onnx.save(model, folder / "x.onnx")
    return folder / "x.onnx"


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(group, [str(own) for own in arguments], catch_exceptions=False)


def test_what_passes_is_sealed_and_shown(original: Path, tmp_path: Path) -> None:
    result = _run("seal", _unsealed(original, tmp_path), "--like", original, "-o", tmp_path / "sealed.onnx")
    assert result.exit_code == 0
    assert "x.onnx, like model.onnx" in result.stdout
    assert _run("verify", tmp_path / "sealed.onnx", "--no-latency", "--backend", "ort-cpu").exit_code == 0


def test_what_fails_shows_why_and_writes_nothing(original: Path, tmp_path: Path) -> None:
    path = _unsealed(original, tmp_path, scale=1.5)
    result = _run("seal", path, "--like", original, "-o", tmp_path / "sealed.onnx")
    assert result.exit_code == 1
    assert "FAIL" in result.stdout
    assert not (tmp_path / "sealed.onnx").exists()


def test_json_says_whether_it_was_sealed(original: Path, tmp_path: Path) -> None:
    path = _unsealed(original, tmp_path)
    result = _run("seal", path, "--like", original, "-o", tmp_path / "sealed.onnx", "--json")
    data = json.loads(result.stdout)
    assert data["sealed"] is True
    assert data["path"] == str(tmp_path / "sealed.onnx")
    assert data["contract"]["source"]["file"] == "model.onnx"


def test_verify_takes_a_file_like_its_original(original: Path, tmp_path: Path) -> None:
    path = _unsealed(original, tmp_path)
    call = ("verify", path, "--like", original, "--no-latency", "--backend", "ort-cpu")
    passed = _run(*call)
    assert passed.exit_code == 0
    assert "golden file model.golden.npz, NumPy in float64" in passed.stdout
    _unsealed(original, tmp_path, scale=1.5)
    assert _run(*call).exit_code == 1


def test_a_report_does_not_overwrite_the_originals_golden_file(original: Path, tmp_path: Path) -> None:
    path = _unsealed(original, tmp_path)
    golden = original.with_name("model.golden.npz")
    result = CliRunner().invoke(group, ["verify", str(path), "--like", str(original), "--json", str(golden)])
    assert result.exit_code != 0
    assert "a file that is read" in str(result.exception)
