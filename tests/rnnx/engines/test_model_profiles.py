"""Engines of whole models: the default profile, the build, and the verification with it."""

from pathlib import Path

import pytest
from tests.whole_model import CONTRACT, EagerAdder, write_adder

import rnnx
from rnnx.engines.engine_options import EngineOptions
from rnnx.engines.model_profiles import profile_of
from rnnx.errors import EngineError
from rnnx.runners.verify_options import VerifyOptions
from rnnx.truths.golden import golden_path
from rnnx_runtime.files.model_file import read_onnx, read_plan
from rnnx_runtime.files.sidecar import Range


def test_a_profile_begins_at_the_smallest_size_that_the_model_took(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_adder(path, EagerAdder(least=3))
    found = profile_of(read_onnx(path))
    assert found == {"B": Range(min=1, opt=8, max=64), "T": Range(min=3, opt=64, max=512)}


def test_without_a_golden_file_it_is_as_wide_as_a_layers(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_adder(path, EagerAdder(least=3))
    golden_path(path).unlink()
    assert profile_of(read_onnx(path))["T"].min == 1


@pytest.mark.tensorrt
def test_an_engine_is_built_and_its_plan_read(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    path, plan = tmp_path / "model.onnx", tmp_path / "model.plan"
    contract = write_adder(path, EagerAdder(), versions=CONTRACT.versions)
    report = rnnx.build_engine(path, plan, EngineOptions(flavor="tensorrt-rtx"))
    assert not report.warnings
    assert read_plan(plan).contract == report.sidecar.contract == contract
    assert ("state", "h0 → hn") in rnnx.inspect(plan).rows  # type: ignore[union-attr]
    verified = rnnx.verify(path, VerifyOptions(engine=plan, latency=False))
    rows = {row.backend: row.status for row in verified.parity.rows}
    assert rows["tensorrt-rtx"] in ("skip", "pass")
    assert rows["tensorrt-network"] == "pass"


@pytest.mark.tensorrt
def test_another_models_engine_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    path, plan = tmp_path / "model.onnx", tmp_path / "model.plan"
    write_adder(path, EagerAdder(), twice=True)
    rnnx.build_engine(path, plan, EngineOptions(flavor="tensorrt-rtx"))
    write_adder(path, EagerAdder())
    with pytest.raises(EngineError, match="one built from an ONNX"):
        rnnx.verify(path, VerifyOptions(engine=plan, latency=False))
