"""The models of `examples/model_shapes.py`: exported, built, and compared with PyTorch at sizes of their own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.eager_truth import Array, assert_as_close, eager_outputs, onnx_outputs, tensors_of
from torch import nn

import rnnx
import rnnx_runtime
from model_shapes import SHAPES, ModelShape
from rnnx.graphs.export_report import ExportReport
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model
from rnnx_runtime.files.sidecar import Range

SIZES = ((1, 1), (3, 7), (5, 12))
"""Batches and times to compare at; every model was exported at (2, 9)."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """One shape, its module and what its export says."""

    shape: ModelShape
    module: nn.Module
    report: ExportReport


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """`exported(name)`: a shape exported once for all tests here."""
    folder, made = tmp_path_factory.mktemp("shapes"), dict[str, Exported]()

    def export(name: str) -> Exported:
        if name not in made:
            shape, module = SHAPES[name], SHAPES[name].make()
            report = export_model(module, shape.inputs(2, 9), folder / f"{name}.onnx", _options(name))
            made[name] = Exported(shape=shape, module=module, report=report)
        return made[name]

    return export


def _options(name: str) -> ModelOptions:
    shape = SHAPES[name]
    dims = dict(zip(_names(shape.inputs(2, 9)), shape.dims, strict=True))
    return ModelOptions(dims=dims, stateful=shape.stateful)


def _names(inputs: dict[str, Any]) -> list[str]:
    """The contract's names of nested inputs."""
    return [
        f"{name}_{place}" if isinstance(value, tuple) else name
        for name, value in inputs.items()
        for place in range(len(value) if isinstance(value, tuple) else 1)
    ]


def _feeds(own: Exported, batch: int, time: int) -> dict[str, Array]:
    inputs = own.shape.inputs(batch, time)
    given = dict(zip(_names(inputs), (tensor.numpy() for tensor in tensors_of(inputs)), strict=True))
    return given | {spec.name: _zeros(spec, batch) for spec in own.report.contract.inputs if spec.name not in given}


def _zeros(spec: rnnx_runtime.TensorSpec, batch: int) -> Array:
    return np.zeros([batch if dim == "B" else int(dim) for dim in spec.dims], spec.dtype)


@pytest.mark.parametrize("name", SHAPES)
def test_the_axes_that_may_vary_are_free_and_no_others(name: str, exported: Callable[[str], Exported]) -> None:
    own = exported(name)
    dims = [spec.dims for spec in own.report.contract.inputs][: len(own.shape.dims)]
    sizes = [tuple(tensor.shape) for tensor in tensors_of(own.shape.inputs(2, 9))]
    expected = [
        tuple(size if dim is None else dim for dim, size in zip(free, shape, strict=True))
        for free, shape in zip(own.shape.dims, sizes, strict=True)
    ]
    assert dims == expected


@pytest.mark.parametrize("name", SHAPES)
def test_results_equal_pytorchs_at_other_sizes(name: str, exported: Callable[[str], Exported]) -> None:
    own = exported(name)
    states = {pair.output for pair in own.report.contract.states} if own.shape.stateful else set()
    for batch, time in SIZES:
        found = onnx_outputs(own.report.path, _feeds(own, batch, time))
        results = [value for output, value in found.items() if output not in states]
        assert_as_close(results, own.module, own.shape.inputs(batch, time), f"B={batch}, T={time}")


@pytest.mark.tensorrt
@pytest.mark.parametrize("name", SHAPES)
def test_verification_passes_in_onnx_runtime_and_on_tensorrts_network(
    name: str, exported: Callable[[str], Exported]
) -> None:
    own = exported(name)
    required = ("ort-cpu", "tensorrt-network")
    report = rnnx.verify(own.report.path, rnnx.VerifyOptions(latency=False, backends=required, require=required))
    assert report, [own for own in report.checks if own.status == "fail"]
    assert [row.backend for row in report.parity.rows] == list(required)
    assert all(row.cases >= 4 for row in report.parity.rows)
    assert [output.output for output in report.parity.rows[0].outputs] == [
        spec.name for spec in own.report.contract.outputs
    ]


@pytest.mark.tensorrt
@pytest.mark.parametrize("name", SHAPES)
def test_an_engine_is_built_for_a_range_of_every_free_dim(
    name: str, exported: Callable[[str], Exported], tmp_path: Path
) -> None:
    own = exported(name)
    free = {dim for spec in own.report.contract.inputs for dim in spec.dims if isinstance(dim, str)}
    profile = {dim: Range(min=1, opt=4, max=16) for dim in free}
    options = rnnx.EngineOptions(profiles=(profile,), tf32=False)
    report = rnnx.build_engine(own.report.path, tmp_path / "model.plan", options)
    assert report.bytes > 0
    assert {dim for given in report.sidecar.profiles for dim in given} == free
    assert report.sidecar.contract == own.report.contract


def test_a_stream_in_pieces_gives_what_the_whole_signal_gives(exported: Callable[[str], Exported]) -> None:
    own = exported("denoiser")
    inputs = own.shape.inputs(3, 12)
    whole = eager_outputs(own.module, inputs, torch.float64)[0]
    (pair,) = own.report.contract.states
    state, pieces = np.zeros((2, 3, 8), np.float32), []
    for start, end in ((0, 1), (1, 6), (6, 12)):
        feeds = {"spectrum": inputs["spectrum"].numpy()[:, start:end], pair.input: state}
        found = onnx_outputs(own.report.path, feeds)
        state = found[pair.output]
        pieces.append(found["output"])
    assert np.abs(np.concatenate(pieces, axis=1) - whole).max() < 1e-6


def test_tied_weights_are_written_once(exported: Callable[[str], Exported]) -> None:
    own = exported("language-model")
    parameters = sum(parameter.nbytes for parameter in own.module.parameters())
    assert own.report.bytes < parameters + 20_000


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("cell-stack", [("h", "output_1"), ("c", "output_2")]),
        ("language-model", [("state_0", "output_1"), ("state_1", "output_2")]),
        ("denoiser", [("h0", "hn")]),
        ("translator", []),
    ],
)
def test_states_that_go_round_are_paired(
    name: str, pairs: list[tuple[str, str]], exported: Callable[[str], Exported]
) -> None:
    contract = exported(name).report.contract
    assert [(pair.input, pair.output) for pair in contract.states] == pairs


def test_a_projected_layer_is_written_as_a_scan(exported: Callable[[str], Exported]) -> None:
    (layer,) = exported("language-model").report.contract.recurrent
    assert (layer.hidden_size, layer.projection_size, layer.formulation) == (16, 8, "scan")


@pytest.mark.parametrize("name", ["tagger", "attention", "classifier", "translator", "ctc"])
def test_lengths_are_told_apart_from_other_integers(name: str, exported: Callable[[str], Exported]) -> None:
    assert exported(name).report.contract.lengths == ("lengths",)
