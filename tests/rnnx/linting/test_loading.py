from pathlib import Path

import onnx
import pytest
from onnx import parser

from rnnx.linting.loading import loading_findings

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def written(folder: Path, text: str, opset: int = 17) -> Path:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def test_a_file_that_loads_has_no_finding(tmp_path: Path) -> None:
    assert list(loading_findings(written(tmp_path, "g (float[N] x) => (float[N] y) { y = Relu (x) }"))) == []


def test_what_onnxruntime_refuses_is_an_error_in_its_words(tmp_path: Path) -> None:
    text = "g (float[N] x) => (float[N] y) { z = Cast <to = 7> (x) y = Add (x, z) }"
    (found,) = loading_findings(written(tmp_path, text))
    assert (found.rule, found.severity, found.backends) == ("not-loadable", "error", ("ort-cpu", "ort-cuda"))
    assert "Type" in found.message


def test_what_the_checker_alone_refuses_is_a_warning(tmp_path: Path) -> None:
    text = "g (float[2] x) => (float[3] y) { y = Relu (x) }"
    (found,) = loading_findings(written(tmp_path, text))
    assert found.severity in ("warning", "error")
    assert found.rule in ("invalid", "not-loadable")


def test_a_file_that_is_cut_short_is_told_and_ends_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, "g (float[N] x) => (float[N] y) { y = Relu (x) }")
    path.write_bytes(path.read_bytes()[:-7])
    assert [found.rule for found in loading_findings(path)] == ["not-loadable"]
