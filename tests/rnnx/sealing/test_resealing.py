"""What other tools make of a sealed model, verified and sealed again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from tests.rnnx.processed_files import halve_all, processed, rename_all
from tests.whole_model import CONTRACT, EagerAdder, example_of, write_adder
from torch import nn

import rnnx
import rnnx_runtime
from rnnx import VerifyOptions
from rnnx.errors import GoldenError, OptionError, OutputError
from rnnx.parity.results import CheckResult
from rnnx.reports.verification_report import VerificationReport
from rnnx.sealing.resealing import batching_left
from rnnx.truths.golden import golden_path
from rnnx_runtime.files.model_file import read_onnx

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "model.onnx"
    torch.manual_seed(0)
    rnnx.export(nn.GRU(5, 8), path, rnnx.ExportOptions(lengths=True))
    return path


def _seal(path: Path, original: Path) -> rnnx.SealReport:
    return rnnx.seal(path, path.with_name("sealed.onnx"), VerifyOptions(like=original))


def _halve_with_bodies(model: onnx.ModelProto) -> None:
    """What a layer of products needs besides: the types that its subgraphs declare."""
    halve_all(model)
    for node in model.graph.node:
        for body in (own.g for own in node.attribute if own.HasField("g")):
            for value in (*body.input, *body.output):
                value.type.tensor_type.elem_type = TensorProto.FLOAT16


def _scale(model: onnx.ModelProto) -> None:
    tensor = max(model.graph.initializer, key=lambda own: len(own.raw_data))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name))


def test_a_renamed_layer_gets_its_names_and_its_seal_again(layer: Path, tmp_path: Path) -> None:
    report = _seal(processed(layer, tmp_path, rename_all), layer)
    sealed, own = read_onnx(tmp_path / "sealed.onnx").contract, read_onnx(layer).contract
    assert report
    assert report.contract == sealed
    assert replace(sealed, source=own.source, versions=own.versions) == own
    assert sealed.source == replace(own.source, file="model.onnx")
    assert report.changes[0].startswith("renamed tensor_0 to x, tensor_1 to h0")
    assert golden_path(tmp_path / "sealed.onnx").read_bytes() == golden_path(layer).read_bytes()
    assert rnnx.verify(tmp_path / "sealed.onnx", VerifyOptions(latency=False, backends=("ort-cpu",)))


def test_a_layer_in_half_takes_and_gives_float32_as_before(layer: Path, tmp_path: Path) -> None:
    report = _seal(processed(layer, tmp_path, halve_all), layer)
    assert report
    assert "processed.onnx has x, h0, output, hn in float16" in report.verification.truth
    assert report.contract.precision == "float16"
    assert report.changes == ("cast to the original's dtypes: x, h0, output, hn in float16",)
    with rnnx_runtime.load(tmp_path / "sealed.onnx", "ort-cpu") as session:
        y, state = session.run(np.ones((3, 2, 5), np.float32))
    assert (str(y.dtype), str(state.h.dtype)) == ("float32", "float32")
    assert rnnx.verify(tmp_path / "sealed.onnx", VerifyOptions(latency=False, backends=("ort-cpu",)))


def test_halves_that_crash_an_optimizer_of_onnx_runtime_run_all_the_same(tmp_path: Path) -> None:
    """A Transpose of halves into a MatMul, as batch_first has it; each row runs in a process of its own."""
    original = tmp_path / "model.onnx"
    rnnx.export(nn.LSTM(5, 8, proj_size=3, batch_first=True), original)
    path = processed(original, tmp_path, _halve_with_bodies)
    assert rnnx.verify(path, VerifyOptions(like=original, latency=False, backends=("ort-cpu",)))
    assert _seal(path, original)


def test_a_sealed_file_can_be_processed_and_sealed_again(layer: Path, tmp_path: Path) -> None:
    assert _seal(processed(layer, tmp_path, halve_all), layer)
    first = (tmp_path / "sealed.onnx").replace(tmp_path / "half.onnx")
    golden_path(tmp_path / "sealed.onnx").replace(golden_path(first))
    report = _seal(processed(first, tmp_path, rename_all), first)
    assert report
    assert report.contract.source.file == "half.onnx"
    assert report.contract.precision == "float16"


def test_external_weights_come_back_inside(layer: Path, tmp_path: Path) -> None:
    path = tmp_path / "processed.onnx"
    onnx.save(onnx.load(layer), path, save_as_external_data=True, size_threshold=64, location="weights.bin")
    assert _seal(path, layer)
    (tmp_path / "weights.bin").unlink()
    assert rnnx.verify(tmp_path / "sealed.onnx", VerifyOptions(latency=False, backends=("ort-cpu",)))


def test_other_values_are_refused_with_their_cause_and_nothing_is_written(layer: Path, tmp_path: Path) -> None:
    path = processed(layer, tmp_path, _scale)
    report = _seal(path, layer)
    assert not report
    assert report.path is None
    assert [row.status for row in report.verification.parity.rows] == ["fail"]
    assert report.verification.diagnoses
    assert sorted(own.name for own in tmp_path.iterdir()) == ["processed.onnx"]


def test_a_whole_model_is_sealed_again(tmp_path: Path) -> None:
    original = tmp_path / "model.onnx"
    write_adder(original, EagerAdder())
    report = _seal(processed(original, tmp_path, rename_all), original)
    assert report
    assert replace(report.contract, source=CONTRACT.source, versions={}, golden_sha256="") == replace(
        CONTRACT, versions={}
    )
    with rnnx_runtime.load(tmp_path / "sealed.onnx", "ort-cpu") as session:
        feeds = example_of()
        outputs, _ = session.run({name: feeds[name] for name in ("x", "lengths", "mask")})
    np.testing.assert_allclose(outputs["output"], feeds["x"], rtol=1e-6)


def test_a_name_inside_a_subgraph_stays_apart_from_the_contracts(layer: Path, tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        rename_all(model)
        last = model.graph.node[-1]
        name, last.output[0] = last.output[0], "before"
        kind = next(value.type for value in model.graph.output if value.name == name)
        body = helper.make_graph(
            [helper.make_node("Identity", ["before"], ["x"])], "body", [], [onnx.ValueInfoProto(name="x", type=kind)]
        )
        yes = numpy_helper.from_array(np.array(True), "yes")
        model.graph.initializer.append(yes)
        model.graph.node.append(helper.make_node("If", ["yes"], [name], then_branch=body, else_branch=body))

    assert _seal(processed(layer, tmp_path, edit), layer)


def test_a_file_without_an_original_is_refused(layer: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="like: got none, expected the model of rnnx"):
        rnnx.seal(layer, tmp_path / "sealed.onnx", VerifyOptions())


def test_an_original_without_its_golden_file_is_refused(layer: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.onnx").write_bytes(layer.read_bytes())
    with pytest.raises(GoldenError, match="no such file"):
        rnnx.seal(layer, tmp_path / "sealed.onnx", VerifyOptions(like=tmp_path / "alone.onnx"))


@pytest.mark.parametrize("target", ["processed.onnx", "model.onnx"])
def test_what_is_read_is_not_overwritten(layer: Path, tmp_path: Path, target: str) -> None:
    path = processed(layer, tmp_path, lambda model: None)
    place = path if target == "processed.onnx" else layer
    with pytest.raises(OutputError, match="a file that is read"):
        rnnx.seal(path, place, VerifyOptions(like=layer))


def _broken(report: VerificationReport, *checks: str) -> VerificationReport:
    own = [CheckResult(backend="ort-cpu", check=check, status="fail", detail="") for check in checks]  # type: ignore[arg-type]
    return replace(report, checks=tuple(own))


def test_the_contract_promises_only_what_is_left_of_rows_and_padding(layer: Path) -> None:
    report = rnnx.verify(layer, VerifyOptions(latency=False, backends=("ort-cpu",)))
    batching = read_onnx(layer).contract.batching
    assert batching_left(batching, report) == batching
    rows = batching_left(batching, _broken(report, "batch-mates"))
    assert rows is not None
    assert (rows.rows, rows.padding) == ("coupled", "ignored")
    assert rows.reason == "the file that was sealed failed batch-mates"
    padding = batching_left(batching, _broken(report, "padding"))
    assert padding is not None
    assert (padding.rows, padding.padding) == ("independent", "read")
    assert batching_left(batching, _broken(report, "streaming", "padding")) is None
