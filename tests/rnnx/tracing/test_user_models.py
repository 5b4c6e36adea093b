"""Models as people write them: exported at one size, compared with PyTorch at others, read by TensorRT's parser."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.eager_truth import onnx_outputs, tensors_of
from tests.rnnx.tracing.user_models import MODELS
from torch import nn

from rnnx.graphs.export_report import ExportReport
from rnnx.linting.examination import doctor
from rnnx.tracing.exporting import export_model
from rnnx.tracing.signature import read_signature

SIZES = ((1, 1), (1, 4), (3, 1), (5, 12))
"""Batches and times to compare at; every model is exported at (2, 9)."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A model and what its export says."""

    module: nn.Module
    report: ExportReport


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """`exported(name)`: a model exported once for all tests here."""
    folder, made = tmp_path_factory.mktemp("user"), dict[str, Exported]()

    def export(name: str) -> Exported:
        if name not in made:
            torch.manual_seed(0)
            module = MODELS[name].make().eval()
            report = export_model(module, MODELS[name].inputs(2, 9), folder / f"{name}.onnx")
            made[name] = Exported(module=module, report=report)
        return made[name]

    return export


@pytest.mark.parametrize("name", MODELS)
def test_results_equal_pytorchs_at_other_sizes(name: str, exported: Callable[[str], Exported]) -> None:
    own = exported(name)
    for batch, time in SIZES:
        inputs = MODELS[name].inputs(batch, time)
        args, kwargs = (inputs, {}) if isinstance(inputs, tuple) else ((), inputs)
        signature, tensors = read_signature(own.module, inputs)
        feeds = {place: tensor.numpy() for place, tensor in zip(signature.names, tensors, strict=True)}
        feeds = {place: value.astype("int64") if value.dtype.kind == "i" else value for place, value in feeds.items()}
        found = onnx_outputs(own.report.path, feeds)
        with torch.no_grad():
            result = own.module(*args, **kwargs)
        expected = tensors_of(vars(result) if dataclasses.is_dataclass(result) else result)
        for spec, value in zip(own.report.contract.outputs, expected, strict=True):
            assert found[spec.name].shape == value.shape, (spec.name, batch, time)
            assert np.allclose(found[spec.name], value.numpy(), rtol=1e-5, atol=3e-6), (spec.name, batch, time)


@pytest.mark.parametrize("name", MODELS)
def test_rnnx_doctor_finds_nothing_wrong_but_what_the_notes_say(name: str, exported: Callable[[str], Exported]) -> None:
    report = exported(name).report
    wrong = [own for own in doctor(report.path).findings if own.severity != "info"]
    assert all(any(own.node in note for note in report.notes) for own in wrong), wrong


@pytest.mark.tensorrt
@pytest.mark.parametrize("name", MODELS)
def test_tensorrt_reads_it_or_the_notes_say_that_it_does_not(name: str, exported: Callable[[str], Exported]) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    report = exported(name).report
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(report.path.read_bytes())
    del parser  # it must go before its network
    assert parsed != any("TensorRT" in note for note in report.notes)


@pytest.mark.parametrize("name", ["last-valid", "sorted-packing"])
def test_rows_that_are_picked_by_index_are_the_batch_all_the_same(
    name: str, exported: Callable[[str], Exported]
) -> None:
    report = exported(name).report
    assert [spec.dims[0] for spec in (*report.contract.inputs, *report.contract.outputs)] == ["B", "B", "B"]
    assert "is taken for the batch" in report.notes[0]


def test_a_second_time_is_no_batch(exported: Callable[[str], Exported]) -> None:
    dims = [spec.dims for spec in exported("shared-twins").report.contract.inputs]
    assert dims == [("B", "T", 5), ("B", "D1", 5)]
