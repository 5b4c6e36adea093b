"""The models of `examples/stream_shapes.py`, exported to stream: in pools, against the whole, and on every backend."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rnnx
import rnnx_runtime
from rnnx.graphs.export_report import ExportReport
from rnnx.modules.model_options import ModelOptions
from rnnx_runtime import StreamPool
from stream_shapes import STREAMS, StreamShape

pytestmark = pytest.mark.slow

STEPS, STREAMS_IN_POOL, COMPARED = 9, 64, 8
"""Steps of each stream, streams of a pool, and how many of them are compared with lone sessions and the whole."""

Frames = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A model and what its export says."""

    shape: StreamShape
    module: nn.Module
    report: ExportReport


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """`exported(name)`: a model exported once for all tests here."""
    folder, made = tmp_path_factory.mktemp("streams"), dict[str, Exported]()

    def export(name: str) -> Exported:
        if name not in made:
            shape, options = STREAMS[name], ModelOptions(stateful=True)
            module, inputs = shape.make(), shape.inputs(2, 12)
            report = rnnx.export(module, folder / f"{name}.onnx", options, example_inputs=inputs)
            made[name] = Exported(shape=shape, module=module, report=report)
        return made[name]

    return export


@pytest.mark.parametrize("name", STREAMS)
def test_the_contract_says_how_the_model_streams(name: str, exported: Callable[[str], Exported]) -> None:
    own = exported(name)
    streaming, dims = own.report.contract.streaming, own.report.contract.plain_inputs[0].dims
    assert streaming.kind == ("delayed" if own.shape.delay else "exact")
    assert set(streaming.delays.values()) == ({own.shape.delay} if own.shape.delay else set())
    assert dims[own.shape.axis] == ("T" if own.shape.multiple == 1 else f"{own.shape.multiple}*T")


SCANNED = pytest.mark.xfail(
    strict=True, reason="TensorRT reads no Scan without states: the voice detector's head, called step by step"
)

PARSED = [pytest.param(name, marks=[SCANNED] if name == "voice-detector" else []) for name in STREAMS]

BATCH_DEPENDENT = pytest.mark.xfail(
    strict=True,
    reason="ONNX Runtime's Log and ReduceSum round by the batch: rows of a bare run differ so too; the bound holds",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[BATCH_DEPENDENT] if name in ("denoiser", "separator") else []) for name in STREAMS],
)
def test_a_pool_gives_bit_for_bit_what_lone_streams_give(name: str, exported: Callable[[str], Exported]) -> None:
    own = exported(name)
    inputs = own.shape.inputs(STREAMS_IN_POOL, STEPS)
    for pooled, lone in zip(_pooled(own, inputs), _lone(own, inputs), strict=False):
        for output, expected in lone.items():
            np.testing.assert_array_equal(pooled[output], expected)


@pytest.mark.parametrize("name", STREAMS)
def test_streams_of_a_pool_give_the_whole_within_the_bound(name: str, exported: Callable[[str], Exported]) -> None:
    own = exported(name)
    inputs = own.shape.inputs(STREAMS_IN_POOL, STEPS)
    pooled, (truth, bound) = _pooled(own, inputs), _whole(own, inputs)
    for row in range(STREAMS_IN_POOL):
        for output, expected in truth.items():
            assert pooled[row][output].shape == expected[row].shape
            assert np.abs(pooled[row][output] - expected[row]).max() <= bound[output]


@pytest.mark.tensorrt
@pytest.mark.parametrize("name", PARSED)
def test_verification_passes_in_onnx_runtime_and_on_tensorrts_network(
    name: str, exported: Callable[[str], Exported]
) -> None:
    own, required = exported(name), ("ort-cpu", "tensorrt-network")
    options = rnnx.VerifyOptions(model=own.module, latency=False, backends=required, require=required)
    report = rnnx.verify(own.report.path, options)
    assert report, [check for check in report.checks if check.status == "fail"]
    assert [row.backend for row in report.parity.rows] == list(required)


@pytest.mark.tensorrt
@pytest.mark.parametrize("name", PARSED)
def test_an_engine_is_built(name: str, exported: Callable[[str], Exported], tmp_path: Path) -> None:
    own = exported(name)
    report = rnnx.build_engine(own.report.path, tmp_path / "model.plan", rnnx.EngineOptions(tf32=False))
    assert report.bytes > 0


def _steps(own: Exported, inputs: Mapping[str, torch.Tensor]) -> Iterator[Frames]:
    """The least chunk of each stream, step by step: a frame of each row where that is one."""
    size, axis = own.shape.multiple, own.shape.axis
    for step in range(STEPS):
        chunk = {name: value.narrow(axis, step * size, size).numpy() for name, value in inputs.items()}
        yield {name: value.squeeze(axis) for name, value in chunk.items()} if size == 1 else chunk


def _given(own: Exported, frames: Frames, row: int) -> Any:
    """What a stream is pushed: a mapping where there are several inputs."""
    values = {name: value[row] for name, value in frames.items()}
    return values if len(own.report.contract.plain_outputs) > 1 or len(values) > 1 else next(iter(values.values()))


def _pooled(own: Exported, inputs: Mapping[str, torch.Tensor]) -> list[Frames]:
    with StreamPool(rnnx_runtime.load(own.report.path, "ort-cpu")) as pool, ExitStack() as stack:
        streams = [stack.enter_context(pool.open()) for _ in range(STREAMS_IN_POOL)]
        parts: list[list[Any]] = [[] for _ in streams]
        for frames in _steps(own, inputs):
            pushes = [stream.submit(_given(own, frames, row)) for row, stream in enumerate(streams)]
            for row, push in enumerate(pushes):
                parts[row].append(push.result())
        for row, stream in enumerate(streams):
            parts[row].append(stream.flush())
    return [_joined(own, row) for row in parts]


def _lone(own: Exported, inputs: Mapping[str, torch.Tensor]) -> list[Frames]:
    found = []
    with rnnx_runtime.load(own.report.path, "ort-cpu") as session:
        for row in range(COMPARED):
            stream = session.stream()
            parts = [stream.push(_given(own, frames, row)) for frames in _steps(own, inputs)]
            found.append(_joined(own, [*parts, stream.flush()]))
    return found


def _joined(own: Exported, parts: list[Any]) -> Frames:
    """All that a stream gave, as the whole gives it: along the outputs' axis of time."""
    found = {}
    for spec in own.report.contract.plain_outputs:
        values = [part[spec.name] if isinstance(part, dict) else part for part in parts]
        axis = next(place for place, dim in enumerate(spec.dims) if "T" in str(dim)) - 1
        rank = len(spec.dims) - 1
        found[spec.name] = np.concatenate(
            [value if value.ndim == rank else np.expand_dims(value, axis) for value in values], axis
        )
    return found


def _whole(own: Exported, inputs: Mapping[str, torch.Tensor]) -> tuple[Frames, dict[str, float]]:
    """The module on the whole sequences in float64, and how far a result in float32 may be from it."""
    with torch.no_grad():
        single = own.module(**inputs)
        wide = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}
        double = own.shape.make().double()(**wide)
    names = [spec.name for spec in own.report.contract.plain_outputs]
    values = [_listed(result) for result in (double, single)]
    truth = {name: value.numpy() for name, value in zip(names, values[0], strict=True)}
    errors = {name: np.abs(value.numpy() - truth[name]).max() for name, value in zip(names, values[1], strict=True)}
    return truth, {name: max(1e-5, 8 * float(error)) for name, error in errors.items()}


def _listed(result: Any) -> list[torch.Tensor]:
    if isinstance(result, dict):
        return list(result.values())
    return list(result) if isinstance(result, tuple) else [result]
