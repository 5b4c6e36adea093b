"""A model in chunks gives what it gives at once, whatever looks along time in it, or is refused by its line."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.streams.proved_streams import proved
from tests.rnnx.tracing.streams.streamed_models import (
    Chomped,
    Convolved,
    Differences,
    Edge,
    Flattened,
    LastOfHalf,
    LastState,
    Overlapping,
    Placed,
    Pooled,
    Residual,
    Restored,
    RunningMean,
    Smoothed,
    Stepped,
    Subsampled,
    Unstreamed,
    WeightNormed,
    Windowed,
)
from torch import nn

import rnnx
import rnnx_runtime
from rnnx.errors import StreamingError
from rnnx.modules.model_options import ModelOptions
from rnnx_runtime.errors import InputError
from rnnx_runtime.pool.stream_pool import StreamPool

STATEFUL = ModelOptions(stateful=True)

FRAMES = (2, 12, 4)

MODELS: dict[str, tuple[nn.Module, tuple[int, ...], int, Mapping[str, int]]] = {
    "causal": (Convolved(causal=2), FRAMES, 1, {}),
    "causal-of-ones": (Convolved(causal=2, value=1.0), FRAMES, 1, {}),
    "more-than-causal": (Convolved(causal=5), FRAMES, 1, {}),
    "look-ahead": (Convolved(padding=1), FRAMES, 1, {"output": 1}),
    "valid": (Convolved(kernel=4), FRAMES, 1, {"output": 3}),
    "wide-padding": (Convolved(padding=4), FRAMES, 1, {}),
    "strided": (Convolved(kernel=5, stride=3, padding=2), FRAMES, 3, {}),
    "stride-over-kernel": (Convolved(kernel=1, stride=2), FRAMES, 2, {}),
    "residual": (Residual(), (12, 2, 4), 1, {"output": 6}),
    "chomped": (Chomped(), FRAMES, 1, {}),
    "subsampled": (Subsampled(), (2, 16, 8), 4, {}),
    "overlap-add": (Overlapping(), (2, 48), 4, {"output": 4}),
    "differences-cut": (Differences("cut"), FRAMES, 1, {"output": 1}),
    "differences-padded": (Differences("padded"), FRAMES, 1, {}),
    "differences-of-zeros": (Differences("zeros"), FRAMES, 1, {}),
    "running-mean": (RunningMean(), FRAMES, 1, {}),
    "placed": (Placed(), FRAMES, 1, {"output": 1}),
    "average-pool": (Pooled(nn.AvgPool1d(4)), FRAMES, 4, {}),
    "max-pool": (Pooled(nn.MaxPool1d(3, 2, 1)), FRAMES, 2, {}),
    "unfolded": (Windowed(stacked=False), FRAMES, 1, {}),
    "stacked": (Windowed(stacked=True), FRAMES, 2, {}),
    "edge": (Edge(), FRAMES, 1, {}),
    "flattened": (Flattened(), FRAMES, 1, {"output": 1}),
    "last-state": (LastState(), FRAMES, 1, {}),
    "last-of-half": (LastOfHalf(), FRAMES, 2, {}),
    "cell-of-half": (Stepped(nn.LSTMCell(4, 5)), FRAMES, 2, {}),
    "gru-cell-of-half": (Stepped(nn.GRUCell(4, 5)), FRAMES, 2, {}),
    "cell-of-64th": (Stepped(nn.LSTMCell(4, 5), 64), (2, 512, 4), 64, {}),
    "weight-norm": (WeightNormed(), FRAMES, 1, {}),
    "smoothed": (Smoothed(), FRAMES, 1, {"output": 1}),
    "restored": (Restored(), FRAMES, 2, {"output": 3}),
}


@pytest.mark.parametrize("name", MODELS)
def test_chunks_of_any_size_give_the_whole(name: str) -> None:
    module, shape, multiple, delays = MODELS[name]
    contract = proved(module, shape)
    assert dict(contract.streaming.delays) == dict(delays)
    dim = "T" if multiple == 1 else f"{multiple}*T"
    assert dim in contract.inputs[0].dims


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("mean", "mean, which takes all frames together"),
        ("softmax", "softmax, which takes all frames together"),
        ("flip", "flip, which turns time around"),
        ("bidirectional", "the bidirectional layer 'layer'"),
        ("attention", "attention"),
    ],
)
def test_what_needs_all_of_the_sequence_is_refused_by_its_line(kind: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(StreamingError, match=told) as refusal:
        rnnx.export(Unstreamed(kind).eval(), tmp_path / "m.onnx", STATEFUL, example_inputs=(torch.randn(FRAMES),))
    assert "streamed_models.py, line" in str(refusal.value)
    assert "--stateful=recurrent" in str(refusal.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cell", [nn.LSTMCell(4, 5), nn.GRUCell(4, 5)], ids=["lstm", "gru"])
def test_a_stride_without_a_look_ahead_carries_its_frames_and_states_alone(cell: nn.Module) -> None:
    streaming = proved(Stepped(cell), FRAMES).streaming
    assert (streaming.kind, streaming.position, streaming.end) == ("exact", "", "")


def test_a_last_state_carries_where_its_sequence_ends() -> None:
    assert proved(LastOfHalf(), FRAMES).streaming.end


def test_a_model_of_layers_alone_carries_their_states_alone(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.GRU(4, 5, batch_first=True)).eval()
    report = rnnx.export(module, tmp_path / "m.onnx", STATEFUL, example_inputs=(torch.randn(FRAMES),))
    assert report.contract.streaming.caches == ()
    assert [own.name for own in report.contract.state_specs] == ["h0"]


@pytest.fixture(scope="module")
def subsampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("streams") / "subsampled.onnx"
    torch.manual_seed(0)
    rnnx.export(Subsampled().eval(), path, STATEFUL, example_inputs=(torch.randn(2, 16, 8),))
    return path


@pytest.fixture(scope="module")
def delayed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("streams") / "delayed.onnx"
    torch.manual_seed(0)
    rnnx.export(Convolved(padding=1).eval(), path, STATEFUL, example_inputs=(torch.randn(FRAMES),))
    return path


def test_a_stream_and_its_flush_give_the_whole(subsampled: Path) -> None:
    torch.manual_seed(0)
    module, x = Subsampled().eval(), torch.randn(1, 22, 8)
    with rnnx_runtime.load(subsampled, "ort-cpu") as session:
        stream = session.stream()
        parts = [stream.push(x[0, start : start + size].numpy()) for start, size in ((0, 4), (4, 12), (16, 4))]
        found = np.concatenate([*parts, stream.flush(x[0, 20:].numpy())])
        assert stream.frames == 22
    with torch.no_grad():
        np.testing.assert_allclose(found, module(x)[0].numpy(), atol=1e-6)


def test_a_chunk_that_is_no_multiple_is_refused_and_loses_nothing(subsampled: Path) -> None:
    frames = np.ones((8, 8), np.float32)
    with rnnx_runtime.load(subsampled, "ort-cpu") as session:
        stream, other = session.stream(), session.stream()
        with pytest.raises(InputError, match=r"a chunk of 7 frames, expected a multiple of 4"):
            stream.push(frames[:7])
        np.testing.assert_array_equal(stream.push(frames), other.push(frames))


def test_a_delayed_stream_gives_what_is_known(delayed: Path) -> None:
    torch.manual_seed(0)
    module, x = Convolved(padding=1).eval(), torch.randn(1, 5, 4)
    with rnnx_runtime.load(delayed, "ort-cpu") as session:
        stream = session.stream()
        parts = [stream.push(frame) for frame in x[0].numpy()]
        assert [len(own) for own in parts] == [0, 1, 1, 1, 1]
        found = np.concatenate([*parts, stream.flush()])
    with torch.no_grad():
        np.testing.assert_allclose(found, module(x)[0].numpy(), atol=1e-6)


def test_a_stream_that_has_ended_takes_nothing_more_until_it_is_reset(delayed: Path) -> None:
    frame = np.ones(4, np.float32)
    with rnnx_runtime.load(delayed, "ort-cpu") as session:
        stream = session.stream()
        stream.push(frame)
        stream.flush()
        with pytest.raises(InputError, match=r"flush\(\) has ended.*reset"):
            stream.push(frame)
        with pytest.raises(InputError, match=r"flush\(\) has ended"):
            stream.flush()
        stream.reset()
        assert len(stream.push(frame)) == 0


def test_a_snapshot_of_a_delayed_stream_knows_where_it_was(delayed: Path) -> None:
    frames = np.random.default_rng(0).standard_normal((6, 4), np.float32)
    with rnnx_runtime.load(delayed, "ort-cpu") as session:
        stream = session.stream()
        stream.push(frames[:3])
        other = session.stream(stream.snapshot())
        np.testing.assert_array_equal(stream.push(frames[3:]), other.push(frames[3:]))
        np.testing.assert_array_equal(stream.flush(), other.flush())


def test_a_pool_runs_causal_convolutions_bit_for_bit_as_lone_streams_do(tmp_path: Path) -> None:
    path = tmp_path / "chomped.onnx"
    rnnx.export(Chomped().eval(), path, STATEFUL, example_inputs=(torch.randn(2, 20, 4),))
    frames = np.random.default_rng(0).standard_normal((12, 5, 4), np.float32)
    with rnnx_runtime.load(path, "ort-cpu") as session, StreamPool(session) as pool:
        lone, pooled = [session.stream() for _ in range(5)], [pool.open() for _ in range(5)]
        for frame in frames:
            pushes = [stream.submit(x) for stream, x in zip(pooled, frame, strict=True)]
            for stream, x, push in zip(lone, frame, pushes, strict=True):
                np.testing.assert_array_equal(push.result(), stream.push(x))


@pytest.mark.parametrize("name", ["subsampled", "delayed"])
def test_verify_holds_a_stream_to_the_module_it_was_made_of(name: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(name)
    torch.manual_seed(0)
    module = (Subsampled() if name == "subsampled" else Convolved(padding=1)).eval()
    options = rnnx.VerifyOptions(model=module, backends=("ort-cpu", "tensorrt-network"), latency=False)
    report = rnnx.verify(path, options)
    assert report
