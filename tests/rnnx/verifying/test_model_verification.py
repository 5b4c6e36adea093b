"""Verifying whole models: every row against the golden file, and every way a verification must fail."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.whole_model import EagerAdder, example_of, write_adder

import rnnx
from rnnx.cli import group
from rnnx.errors import GoldenError, OptionError, ReportError
from rnnx.runners.verify_options import VerifyOptions
from rnnx.truths.golden import golden_path

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

QUICK: dict[str, Any] = {"latency": False, "backends": ("ort-cpu",)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_adder(tmp_path / "model.onnx", EagerAdder())
    return tmp_path / "model.onnx"


def test_a_right_model_passes_on_every_output_and_state(path: Path) -> None:
    report = rnnx.verify(path, VerifyOptions(latency=False))
    rows = {row.backend: row for row in report.parity.rows}
    assert report
    assert rows["ort-cpu"].status == "pass"
    assert [own.output for own in rows["ort-cpu"].outputs] == ["output", "label", "hn"]
    assert rows["ort-cpu"].cases == 9
    assert rows["ort-cuda"].status in ("skip", "pass")
    assert report.cases[0] == "example"
    assert "PyTorch in float64" in report.truth


@pytest.mark.tensorrt
def test_tensorrts_network_is_a_row(path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    report = rnnx.verify(path, VerifyOptions(latency=False, backends=("tensorrt-network",)))
    (row,) = report.parity.rows
    assert (row.status, row.reason) == ("pass", "")
    assert not report  # no backend ran the model


def test_a_wrong_graph_fails_on_the_output_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_adder(path, EagerAdder(), twice=True)
    report = rnnx.verify(path, VerifyOptions(**QUICK))
    (row,) = report.parity.rows
    assert not report
    assert {own.output for own in row.failures} == {"output"}


class Mislabelled(EagerAdder):
    """The model with every label one higher."""

    def outputs(self, feeds: Mapping[str, Any], dtype: Any) -> dict[str, Any]:
        values = super().outputs(feeds, dtype)
        return {**values, "label": values["label"] + 1}


def test_integers_must_be_equal(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_adder(path, Mislabelled())
    (row,) = rnnx.verify(path, VerifyOptions(**QUICK)).parity.rows
    assert {own.output for own in row.failures} == {"label"}
    assert {own.limit for own in row.failures} == {0.5}


def test_sizes_that_were_left_out_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_adder(path, EagerAdder(least=3))
    report = rnnx.verify(path, VerifyOptions(**QUICK))
    assert report
    assert "left out: T1 B1: PyTorch raises RuntimeError" in report.truth
    assert "T1 B1" not in report.cases


def test_latency_is_measured_at_the_asked_shape(path: Path) -> None:
    options = VerifyOptions(backends=("ort-cpu",), latency_seconds=0.05, sizes={"T": 6})
    latency = rnnx.verify(path, options).latency
    assert latency is not None
    assert (latency.sizes, [row.backend for row in latency.rows]) == ({"B": 1, "T": 6}, ["ort-cpu"])
    assert latency.rows[0].ratio is None


def test_a_row_that_is_required_fails_where_it_cannot_run(path: Path) -> None:
    report = rnnx.verify(path, VerifyOptions(**QUICK, require=("tensorrt",)))
    rows = {row.backend: row for row in report.parity.rows}
    assert (rows["ort-cpu"].status, rows["tensorrt"].status) == ("pass", "fail")
    assert "no engine" in rows["tensorrt"].reason
    assert not report


def test_pytorch_is_no_row_without_the_module(path: Path) -> None:
    report = rnnx.verify(path, VerifyOptions(latency=False, backends=("ort-cpu", "pytorch-cpu")))
    rows = {row.backend: row for row in report.parity.rows}
    assert rows["pytorch-cpu"].status == "skip"
    assert "module is not in its file" in rows["pytorch-cpu"].reason


@pytest.mark.parametrize(
    ("options", "named"),
    [
        pytest.param({"checkpoint": "x.pt"}, "checkpoint: got", id="checkpoint"),
        pytest.param({"module": "rnn"}, "module: got", id="module"),
        pytest.param({"names": {"x": "y"}}, "names", id="map"),
        pytest.param({"batch_first": True}, "batch_first: got", id="batch-first"),
        pytest.param({"matrix": "full"}, "matrix: got", id="matrix"),
        pytest.param({"sizes": {"I": 3}}, "sizes: ", id="unknown-size"),
        pytest.param({"sizes": {"T": 0}}, "sizes: ", id="size-zero"),
        pytest.param({"backends": ("onnx",)}, "backend", id="backend"),
        pytest.param({"threads": 0}, "threads", id="threads"),
        pytest.param({"threads": "2"}, "threads: got '2'", id="threads-as-text"),
        pytest.param({"backends": "ort-cpu"}, r"backends: got 'ort-cpu', expected \('ort-cpu',\)", id="one-name"),
        pytest.param({"engine": "model.onnx"}, "engine: got", id="engine"),
    ],
)
def test_options_of_layers_and_wrong_ones_are_refused(path: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(OptionError, match=named):
        rnnx.verify(path, VerifyOptions(**options))


@pytest.mark.parametrize("options", [rnnx.BenchOptions(), {"latency": False}], ids=["of-bench", "a-dict"])
def test_options_of_another_kind_are_refused(path: Path, options: Any) -> None:
    with pytest.raises(OptionError, match=f"got {type(options).__name__}, expected VerifyOptions"):
        rnnx.verify(path, options)


def test_a_missing_golden_file_is_refused(path: Path) -> None:
    golden_path(path).unlink()
    with pytest.raises(GoldenError, match="no such file"):
        rnnx.verify(path, VerifyOptions(**QUICK))


def test_a_baseline_is_held_against_it(path: Path, tmp_path: Path) -> None:
    runner, report = CliRunner(), tmp_path / "report.json"
    arguments = ["verify", str(path), "--no-latency", "--backend", "ort-cpu"]
    first = runner.invoke(group, [*arguments, "--json", str(report)])
    assert first.exit_code == 0, first.output
    assert json.loads(report.read_text())["passed"] is True
    again = runner.invoke(group, [*arguments, "--baseline", str(report)])
    assert again.exit_code == 0, again.output
    assert "baseline: nothing worse" in again.output


def test_another_models_baseline_is_refused(path: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    CliRunner().invoke(group, ["verify", str(path), "--no-latency", "--backend", "ort-cpu", "--json", str(report)])
    data = json.loads(report.read_text()) | {"weights_sha256": "00" * 32}
    report.write_text(json.dumps(data))
    with pytest.raises(ReportError, match="baseline"):
        rnnx.verify(path, VerifyOptions(**QUICK, baseline=report))


def test_the_command_fails_with_the_table(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_adder(path, EagerAdder(), twice=True)
    result = CliRunner().invoke(group, ["verify", str(path), "--no-latency", "--backend", "ort-cpu"])
    assert result.exit_code == 1
    assert "FAIL" in result.output
    assert "failing cases" in result.output


def test_a_whole_model_is_inspected(path: Path) -> None:
    found = rnnx.inspect(path)
    rows = [*found.rows]  # type: ignore[union-attr]
    assert ("model", "whole model, float32") in rows
    assert ("recurrent", "rnn: GRU, input 3, hidden 3, 1 layers, 1 directions, fused") in rows
    assert ("state", "h0 → hn") in rows
    assert ("lengths", "lengths") in rows
    assert ("input", "mask bool (B, T)") in rows
    result = CliRunner().invoke(group, ["inspect", str(path), "--json"])
    assert json.loads(result.output)["contract"]["schema"] == 3
    assert example_of().keys() == {spec["name"] for spec in json.loads(result.output)["contract"]["inputs"]}
