"""One suite for every kind of model: a bare layer, and whole models as people have them, through everything."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.rnnx_runtime.pool.random_pushes import by_name, push_at_random
from torch import Tensor, nn

import rnnx
import rnnx_runtime
from rnnx_runtime import InputError, PoolOptions, Session, SnapshotError, State, StreamPool

Array = NDArray[Any]

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


class Scorer(nn.Module):
    """The same net as a bare GRU, with a head around it."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 8, 2)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.gru(x)[0])
        return result


class Keywords(nn.Module):
    """A keyword spotter: int64 tokens and a float input, two outputs, batch first."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.lstm = nn.LSTM(6, 7, batch_first=True)
        self.words, self.energy = nn.Linear(7, 5), nn.Linear(7, 1)

    def forward(self, tokens: Tensor, pitch: Tensor) -> dict[str, Tensor]:
        output, _ = self.lstm(torch.cat([self.embedding(tokens), pitch], -1))
        return {"words": self.words(output), "energy": self.energy(output)}


class Policy(nn.Module):
    """A policy on an LSTM cell that takes and returns its states."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(4, 6)
        self.action = nn.Linear(6, 2)

    def forward(self, seen: Tensor, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden, memory = self.cell(seen, (hidden, memory))
        return self.action(hidden), hidden, memory


@dataclass(frozen=True)
class Kind:
    """A model, how it is exported, and frames of one stream `(T, …)` by input."""

    make: Any
    example: tuple[Tensor, ...] | None
    options: Any
    frames: Mapping[str, tuple[str, tuple[int, ...]]]
    is_step: bool = False

    def chunk(self, time: int, seed: int) -> dict[str, Array]:
        chance = np.random.default_rng(seed)
        return {
            name: chance.integers(0, 11, (time, *shape)) if dtype == "int64"
            else chance.standard_normal((time, *shape), np.float32)
            for name, (dtype, shape) in self.frames.items()
        }  # fmt: skip

    def pushes(self, index: int, time: int, seed: int) -> Any:
        """One frame where `time` is 1, else that many; each stream's are its own by the seed."""
        chunk = self.chunk(time, seed)
        return frame_of(chunk, 0) if time == 1 else pushed(chunk)


STATEFUL = rnnx.ModelOptions(stateful=True)
RECURRENT = rnnx.ModelOptions(stateful="recurrent")
KINDS = {
    "layer": Kind(lambda: nn.GRU(5, 8, 2), None, None, {"x": ("float32", (5,))}),
    "layer-lengths": Kind(lambda: nn.LSTM(5, 8), None, rnnx.ExportOptions(lengths=True), {"x": ("float32", (5,))}),
    "cell": Kind(lambda: nn.LSTMCell(5, 8), None, None, {"x": ("float32", (5,))}, is_step=True),
    "scorer": Kind(Scorer, (torch.randn(6, 2, 5),), STATEFUL, {"x": ("float32", (5,))}),
    "keywords": Kind(
        Keywords,
        (torch.randint(0, 11, (2, 6)), torch.randn(2, 6, 2)),
        STATEFUL,
        {"tokens": ("int64", ()), "pitch": ("float32", (2,))},
    ),
    "policy": Kind(
        Policy,
        (torch.randn(2, 4), torch.zeros(2, 6), torch.zeros(2, 6)),
        None,
        {"seen": ("float32", (4,))},
        is_step=True,
    ),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, found = tmp_path_factory.mktemp("models"), {}
    for name, kind in KINDS.items():
        torch.manual_seed(7)
        module, path = kind.make().eval(), folder / f"{name}.onnx"
        if kind.example is None:
            rnnx.export(module, path, kind.options)
        else:
            rnnx.export(module, path, kind.options, example_inputs=kind.example)
        found[name] = path
    return found


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def session(files: dict[str, Path], name: str) -> Any:
    with rnnx_runtime.load(files[name], "ort-cpu") as opened:
        yield opened


def frame_of(chunk: Mapping[str, Array], t: int) -> Any:
    """A frame as a caller pushes it: alone where there is one input."""
    values = {name: value[t] for name, value in chunk.items()}
    return next(iter(values.values())) if len(values) == 1 else values


def pushed(chunk: Mapping[str, Array]) -> Any:
    return next(iter(chunk.values())) if len(chunk) == 1 else dict(chunk)


def frame_by_frame(session: Session, chunk: Mapping[str, Array]) -> dict[str, Array]:
    """What a lone stream gives for each frame, along the first axis."""
    stream = session.stream()
    time = len(next(iter(chunk.values())))
    rows = [by_name(stream.push(frame_of(chunk, t))) for t in range(time)]
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def assert_close(found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=0, atol=2e-6)


def test_the_contract_says_that_it_streams(session: Session) -> None:
    assert session.spec.streaming.kind == "exact"
    assert session.spec.states


def test_a_mapping_and_an_array_give_the_same(session: Session, name: str) -> None:
    time = 1 if KINDS[name].is_step else 4
    chunk = KINDS[name].chunk(time, 1)
    inputs = {}
    for spec in session.spec.plain_inputs:
        value = chunk[spec.name]
        axis = spec.dims.index("B")
        inputs[spec.name] = np.expand_dims(value[0] if KINDS[name].is_step else value, axis)
    named, state = session.run(inputs)
    assert list(named) == [spec.name for spec in session.spec.plain_outputs]
    again, _ = session.run(inputs, state)
    assert again.keys() == named.keys()
    if len(inputs) == 1 and len(named) == 1:
        alone, other = session.run(next(iter(inputs.values())))
        np.testing.assert_array_equal(alone, next(iter(named.values())))
        assert other.names == state.names
    else:
        with pytest.raises(InputError, match=r"one ndarray"):
            session.run(next(iter(inputs.values())))


def test_a_step_is_a_run_of_one_frame(session: Session, name: str) -> None:
    chunk = KINDS[name].chunk(3, 2)
    state: Any = None
    rows = []
    for t in range(3):
        inputs = {key: value[t][None] for key, value in chunk.items()}
        outputs, state = session.step(inputs, state)
        rows.append(outputs)
    expected = frame_by_frame(session, chunk)
    found = {key: np.stack([row[key][0] for row in rows]) for key in rows[0]}
    assert_close(found if len(found) > 1 or "" not in expected else {"": next(iter(found.values()))}, expected)


def test_chunks_of_a_stream_are_its_frames(session: Session, name: str) -> None:
    chunk = KINDS[name].chunk(7, 3)
    stream = session.stream()
    parts = [by_name(stream.push(pushed({k: v[a:b] for k, v in chunk.items()}))) for a, b in ((0, 1), (1, 4), (4, 7))]
    found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    assert_close(found, frame_by_frame(session, chunk))
    assert stream.frames == 7


def test_a_snapshot_goes_on_elsewhere(session: Session, files: dict[str, Path], name: str) -> None:
    chunk = KINDS[name].chunk(6, 4)
    stream = session.stream()
    for t in range(3):
        stream.push(frame_of(chunk, t))
    data = stream.snapshot()
    with rnnx_runtime.load(files[name], "ort-cpu") as elsewhere:
        restored = elsewhere.stream(data)
        rows = [by_name(restored.push(frame_of(chunk, t))) for t in range(3, 6)]
    expected = frame_by_frame(session, chunk)
    for key, values in expected.items():
        np.testing.assert_array_equal(np.stack([row[key] for row in rows]), values[3:])


def test_a_snapshot_of_another_model_is_refused(files: dict[str, Path], session: Session, name: str) -> None:
    other = "cell" if name not in ("cell", "layer-lengths") else "policy"  # these two have the same weights
    with rnnx_runtime.load(files[other], "ort-cpu") as elsewhere, pytest.raises(SnapshotError, match="another model"):
        session.stream(elsewhere.stream().snapshot())


@pytest.mark.parametrize("seed", range(8))
def test_random_schedules_of_a_pool_equal_lone_sessions(files: dict[str, Path], name: str, seed: int) -> None:
    agreement = push_at_random(files[name], KINDS[name].pushes, seed)
    assert agreement.results >= 4 * 8
    assert agreement.largest <= 2e-6


def test_a_state_is_a_mapping_by_name(session: Session) -> None:
    state = session.initial_state(2)
    assert list(state) == [pair.input for pair in session.spec.states]
    assert all(
        value.shape[spec.dims.index("B")] == 2
        for value, spec in zip(state.values(), session.spec.state_specs, strict=True)
    )
    with pytest.raises(KeyError):
        state["nothing"]


def test_half_a_state_and_a_misspelled_name_are_refused(session: Session, name: str) -> None:
    chunk = KINDS[name].chunk(1, 5)
    first = {key: value[0][None] for key, value in chunk.items()}
    state = dict(session.initial_state(1))
    if len(state) > 1:
        half = dict(list(state.items())[:1])
        with pytest.raises(InputError, match=f"no '{list(state)[1]}'"):
            session.step(first, half)
    wrong = {f"{key}_": value for key, value in state.items()}
    with pytest.raises(InputError, match="expected a State of"):
        session.step(first, wrong)
    with pytest.raises(InputError, match="'misspelled'"):
        session.step({**first, "misspelled": first[next(iter(first))]})


def test_the_contract_survives_its_file(files: dict[str, Path], name: str) -> None:
    inspected = rnnx.inspect(files[name])
    assert json.loads(json.dumps(inspected.data))["contract"]["schema"] == 3  # type: ignore[union-attr] # a model's


@pytest.fixture
def trained(files: dict[str, Path], name: str, tmp_path: Path) -> dict[str, Any]:
    """What gives the truth of a model on any inputs: its weights, or its module."""
    torch.manual_seed(7)
    module = KINDS[name].make().eval()
    if KINDS[name].example is not None:
        return {"model": module}
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    return {"checkpoint": tmp_path / "weights.pt"}


def test_every_property_is_checked_and_the_drift_measured(
    files: dict[str, Path], name: str, trained: dict[str, Any]
) -> None:
    rows = ("pytorch-cpu", "ort-cpu")
    report = rnnx.verify(files[name], rnnx.VerifyOptions(**trained, latency=False, backends=rows))
    assert report
    found = {(check.backend, check.check): check.status for check in report.checks}
    lengths = set() if name == "layer-lengths" else {"padding", "zero-length"}
    of_the_module = set() if KINDS[name].example is None else {"batch-order", "batch-mates", "batch-split"}
    for row, skipped in zip(rows, (lengths | of_the_module, lengths), strict=True):
        assert {check for (backend, check), status in found.items() if backend == row and status == "skip"} == skipped
    assert [(curve.backend, curve.status, curve.steps) for curve in report.drift] == [
        (row, "pass", 1000) for row in rows
    ]


def test_without_weights_or_module_the_rows_of_a_batch_are_checked_still(files: dict[str, Path], name: str) -> None:
    report = rnnx.verify(files[name], rnnx.VerifyOptions(latency=False, backends=("ort-cpu",)))
    found = {check.check: check.status for check in report.checks}
    assert report
    assert {found[check] for check in ("batch-order", "batch-mates", "batch-split")} == {"pass"}
    assert found["streaming"] == ("skip" if KINDS[name].is_step else "pass")
    kind = "weights" if KINDS[name].example is None else "module"
    assert [curve.reason for curve in report.drift] == [f"no {kind} to compute the truth of a longer sequence from"]


def test_every_model_is_timed_in_depth(files: dict[str, Path], name: str) -> None:
    options = rnnx.BenchOptions(seconds=0.02, stream_steps=30, backends=("ort-cpu",))
    report = rnnx.bench(files[name], options)
    assert [row.backend for row in report.latency.rows] == ["ort-cpu"]
    assert [row.problem for row in report.latency.start_up] == [""]
    assert [row.steps for row in report.jitter] == [30]
    assert {point.sweep for point in report.throughput} == ({"B"} if KINDS[name].is_step else {"B", "T"})


class Smeared(nn.Module):
    """A convolution over time in front of the layer sees beyond a chunk's edge."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = nn.Conv1d(4, 4, 3, padding=1)
        self.gru = nn.GRU(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.gru(self.blur(x.transpose(1, 2)).transpose(1, 2))[0]
        return output


class Backward(nn.Module):
    """A second layer runs backward."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.GRU(4, 5), nn.GRU(5, 5, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.second(self.first(x)[0])[0]
        return output


def test_chunks_that_are_not_the_whole_are_told_with_their_layer(tmp_path: Path) -> None:
    path = tmp_path / "smeared.onnx"
    report = rnnx.export(Smeared().eval(), path, RECURRENT, example_inputs=(torch.randn(2, 6, 4),))
    assert report.contract.streaming.kind == "chunked"
    assert "layer 'blur' (Conv1d)" in report.contract.streaming.reason
    with rnnx_runtime.load(path, "ort-cpu") as session:
        with pytest.raises(InputError, match=r"'blur'.*allow_chunked=True"):
            session.stream()
        assert session.stream(allow_chunked=True).push(np.zeros((5, 4), np.float32)).shape == (5, 5)
        with pytest.raises(InputError, match="'blur'"):
            StreamPool(session)


def test_a_backward_layer_has_no_next_chunk(tmp_path: Path) -> None:
    path = tmp_path / "backward.onnx"
    report = rnnx.export(Backward().eval(), path, RECURRENT, example_inputs=(torch.randn(6, 2, 4),))
    assert report.contract.streaming.kind == "no"
    with rnnx_runtime.load(path, "ort-cpu") as session:
        for opened in (session.stream, lambda: StreamPool(session)):
            with pytest.raises(InputError, match="the bidirectional layer 'second'"):
                opened()


def test_a_state_made_by_hand_is_taken(files: dict[str, Path]) -> None:
    with rnnx_runtime.load(files["scorer"], "ort-cpu") as session:
        x = np.ones((3, 2, 5), np.float32)
        zeros = State({name: np.zeros_like(value) for name, value in session.initial_state(2).items()})
        np.testing.assert_array_equal(session.run(x, zeros)[0], session.run(x)[0])


class Attending(nn.Module):
    """A step that looks at a context of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(5, 6)

    def forward(self, seen: Tensor, context: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        weights = torch.softmax((context * hidden[:, None]).sum(-1), -1)
        found = (weights[..., None] * context).sum(1)
        hidden = self.cell(torch.cat([seen, found[:, :3]], -1), hidden)
        return hidden.tanh(), hidden


def test_a_pool_runs_streams_with_contexts_of_other_lengths(tmp_path: Path) -> None:
    example = (torch.randn(2, 2), torch.randn(2, 4, 6), torch.zeros(2, 6))
    rnnx.export(Attending().eval(), tmp_path / "m.onnx", example_inputs=example)
    chance = np.random.default_rng(5)
    lengths = (4, 7, 4, 9, 7, 1)
    contexts = [chance.standard_normal((length, 6), np.float32) for length in lengths]
    frames = chance.standard_normal((3, len(lengths), 2), np.float32)
    with rnnx_runtime.load(tmp_path / "m.onnx", "ort-cpu") as session:
        alone = [session.stream() for _ in lengths]
        given = [
            [
                stream.push({"seen": x, "context": context})
                for stream, x, context in zip(alone, frame, contexts, strict=True)
            ]
            for frame in frames
        ]
        with StreamPool(session, PoolOptions(max_batch=8)) as pool:
            streams = [pool.open() for _ in lengths]
            for frame, expected in zip(frames, given, strict=True):
                pushes = [
                    stream.submit({"seen": x, "context": context})
                    for stream, x, context in zip(streams, frame, contexts, strict=True)
                ]
                for push, own in zip(pushes, expected, strict=True):
                    assert_close(push.result(), own)


class BothWays(nn.Module):
    """Backward too: it has no next chunk, whatever its axes are called."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(4, 6, batch_first=True, bidirectional=True), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.gru(x)[0])
        return result


@pytest.mark.parametrize(
    ("dims", "why"),
    [
        (("B", "S", None), "the layer 'gru', which runs over S"),
        (("B", "T", None), "the bidirectional layer 'gru'"),
        (("B", None, None), "the layer 'gru', which runs over 7"),
        (("N", "T", None), "'x' (N, T, 4), which has no axis B"),
    ],
)
def test_only_a_layer_that_runs_over_the_axis_of_frames_streams(dims: Any, why: str, tmp_path: Path) -> None:
    options = rnnx.ModelOptions(stateful="recurrent", dims={"x": dims})
    report = rnnx.export(BothWays().eval(), tmp_path / "m.onnx", options, example_inputs=(torch.randn(2, 7, 4),))
    assert report.contract.streaming.kind == "no"
    assert why in report.contract.streaming.reason


def test_chunks_of_several_inputs_have_one_length(files: dict[str, Path]) -> None:
    unequal = {"tokens": np.arange(4), "pitch": np.zeros((2, 2), np.float32)}
    with rnnx_runtime.load(files["keywords"], "ort-cpu") as session:
        with pytest.raises(
            InputError, match=r"chunks of 4 \(tokens\), 2 \(pitch\) frames, expected chunks of one length"
        ):
            session.stream().push(unequal)
        with StreamPool(session) as pool, pool.open() as stream:
            with pytest.raises(InputError, match="chunks of one length"):
                stream.submit(unequal)
            stream.push({"tokens": np.arange(2), "pitch": np.zeros((2, 2), np.float32)})


def test_lengths_of_another_name_are_refused(files: dict[str, Path]) -> None:
    with rnnx_runtime.load(files["layer-lengths"], "ort-cpu") as session, pytest.raises(InputError, match="'length'"):
        session.run(np.zeros((3, 2, 5), np.float32), lengths={"length": [3, 2]})


@pytest.mark.parametrize("token", [2**70, -(2**63) - 1])
def test_a_token_beyond_its_dtype_is_refused(token: int, files: dict[str, Path]) -> None:
    with rnnx_runtime.load(files["keywords"], "ort-cpu") as session, pytest.raises(InputError, match="tokens"):
        session.stream().push({"tokens": token, "pitch": np.zeros(2, np.float32)})


class Bare(nn.Module):
    """Its one output is its state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 6)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        hidden: Tensor = self.cell(2 * x, h)
        return hidden


def test_an_output_that_is_the_state_goes_into_its_buffer(tmp_path: Path) -> None:
    options = rnnx.ModelOptions(output_names=("hidden",))
    rnnx.export(Bare().eval(), tmp_path / "m.onnx", options, example_inputs=(torch.randn(2, 4), torch.randn(2, 6)))
    x, h = np.ones((3, 4), np.float32), np.ones((3, 6), np.float32)
    with rnnx_runtime.load(tmp_path / "m.onnx", "ort-cpu") as session:
        expected, following = session.run(x, {"h": h})
        assert following.h is following["h"]
        for buffer, wanted in ((np.empty_like(h), None), (np.empty_like(h), "hidden")):
            given = {"hidden": buffer} if wanted else buffer
            y, state = session.run({"x": x} if wanted else x, {"h": h}, out=given)
            assert (y["hidden"] if wanted else y) is buffer
            assert state["h"] is not buffer
            np.testing.assert_array_equal(buffer, expected)
            np.testing.assert_array_equal(state["h"], expected)


class LastFrame(nn.Module):
    """An output for a whole chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(4, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.gru(x)[0][:, -1])
        return result


def test_a_chunks_one_output_has_a_buffer_of_its_shape(tmp_path: Path) -> None:
    rnnx.export(LastFrame().eval(), tmp_path / "m.onnx", STATEFUL, example_inputs=(torch.randn(2, 7, 4),))
    x = np.random.default_rng(1).standard_normal((6, 4), np.float32)
    with rnnx_runtime.load(tmp_path / "m.onnx", "ort-cpu") as session:
        expected = session.stream().push(x)
        buffer = np.zeros(2, np.float32)
        assert session.stream().push(x, out=buffer) is buffer
        np.testing.assert_array_equal(buffer, expected)
        with pytest.raises(InputError, match=r"expected float32 \(2,\)"):
            session.stream().push(x, out=np.zeros((6, 2), np.float32))


class Masked(nn.Module):
    """Attention whose mask may leave no key: PyTorch gives zeros for such a row."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.attention = nn.GRU(8, 8, batch_first=True), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        y = self.gru(x)[0]
        result: Tensor = self.attention(y, y, y, key_padding_mask=padding, need_weights=False)[0]
        return result


class MaskedByTruth(Masked):
    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        y = self.gru(x)[0][:, None]
        return nn.functional.scaled_dot_product_attention(y, y, y, attn_mask=~padding[:, None, None])


@pytest.mark.parametrize("kind", [Masked, MaskedByTruth])
def test_attention_over_nothing_is_zero_as_in_pytorch(kind: type[Masked], tmp_path: Path) -> None:
    model, x = kind().eval(), torch.randn(2, 3, 8)
    rnnx.export(model, tmp_path / "m.onnx", example_inputs=(x, torch.tensor([[False, False, True]] * 2)))
    padding = torch.tensor([[True] * 3, [False] * 3])
    with rnnx_runtime.load(tmp_path / "m.onnx", "ort-cpu") as session:
        outputs, _ = session.run({"x": x.numpy(), "padding": padding.numpy()})
    expected = model(x, padding).detach().numpy()
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(outputs["output"], expected, rtol=0, atol=1e-6)


class Coupled(Scorer):
    """A head that takes away the mean over the batch: one stream's frames change another's result."""

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.gru(x)
        result: Tensor = self.head(output - output.mean(1, keepdim=True))
        return result


def test_rows_that_depend_on_each_other_are_no_streams_of_a_pool(tmp_path: Path) -> None:
    path = tmp_path / "coupled.onnx"
    report = rnnx.export(Coupled().eval(), path, STATEFUL, example_inputs=(torch.randn(6, 2, 5),))
    assert report.contract.batching.rows == "coupled"
    assert report.contract.streaming.kind == "exact"
    with rnnx_runtime.load(path, "ort-cpu") as session:
        assert session.stream().push(np.zeros((5, 5), np.float32)).shape == (5, 3)
        with pytest.raises(InputError, match=r"rows depend on each other.*differs beside fewer rows.*Session\.stream"):
            StreamPool(session)
    verified = rnnx.verify(path, rnnx.VerifyOptions(latency=False, backends=("ort-cpu",)))
    told = {check.check: (check.status, check.detail) for check in verified.checks}
    assert verified
    assert told["batch-mates"][0] == "skip"
    assert "in PyTorch too" in told["batch-mates"][1]
