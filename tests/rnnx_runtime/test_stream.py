from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.contracts import changed
from torch import nn

import rnnx
import rnnx_runtime
from rnnx_runtime import BackendError, Contract, InputError, Session, SessionClosedError, SnapshotError, State
from rnnx_runtime.state import DeviceTensor
from rnnx_runtime.stream import Stream

Array = NDArray[Any]

FORMS: dict[str, dict[str, Any]] = {
    "encoder": {"layers": 2},
    "batch-first": {"layers": 2, "batch_first": True},
    "gru": {"layers": 2, "cell": "gru"},
    "lengths": {"layers": 2, "lengths": True},
    "rnn": {"layers": 2, "cell": "rnn", "nonlinearity": "relu"},
    "projected": {"layers": 2, "projection_size": 3},
    "step": {"form": "step"},
    "gru-step": {"form": "step", "cell": "gru"},
    "unrolled-1": {"form": "unrolled", "steps": 1},
    "unrolled-3": {"form": "unrolled", "steps": 3},
}
TAKES_FRAMES = [name for name in FORMS if name != "unrolled-3"]


class Decay:
    """A recurrence in NumPy, the same in every form: each layer's h halves and takes in x, c counts the steps."""

    device = "NumPy"

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.fails_after: int | None = None
        self.feeds: list[Mapping[str, Any]] = []

    def run(self, feeds: Mapping[str, Any], out: Mapping[str, Array] | None = None) -> list[Any]:
        assert out is None
        self.feeds.append(feeds)
        if self.fails_after is not None and len(self.feeds) > self.fails_after:
            raise BackendError("backend", got="a fault", expected="none", remedy="look for it")
        spec = self.contract
        x = (
            feeds["x"][None]
            if spec.layer().form == "step"
            else feeds["x"].swapaxes(0, 1)
            if spec.layer().batch_first
            else feeds["x"]
        )
        h, c = (self._host(feeds[name]).copy() if name in feeds else None for name in ("h0", "c0"))
        assert h is not None
        output = np.empty((*x.shape[:2], spec.layer().projection_size), np.float32)
        for t in range(len(x)):
            h = h / np.float32(2) + x[t][:, : spec.layer().projection_size]
            c = None if c is None else c + np.float32(1)
            output[t] = h if h.ndim == 2 else h[-1]
        values = [self._left(part) for part in (h, c) if part is not None]
        if spec.layer().form == "step":
            return values
        return [np.ascontiguousarray(output.swapaxes(0, 1)) if spec.layer().batch_first else output, *values]

    def _left(self, part: Array) -> Any:
        """Where a part of the next state is left."""
        return part

    def _host(self, value: Any) -> Any:
        return value

    def close(self) -> None:
        pass


class Tensor:
    """A part of a state on a device that is not there; `copies` counts the copies to the host."""

    def __init__(self, values: Array, owner: object) -> None:
        self.values, self.owner, self.copies = values, owner, 0
        self.shape = values.shape

    def numpy(self) -> Array:
        self.copies += 1
        return self.values.copy()


class DeviceDecay(Decay):
    """The same recurrence, its states left on the device."""

    def _left(self, part: Array) -> Any:
        return Tensor(part, self)

    def _host(self, value: Any) -> Any:
        return value.values if isinstance(value, Tensor) else value


@pytest.fixture
def base(contract: Contract) -> Contract:
    """A one-layer LSTM encoder in one direction: I=10, H=4."""
    return changed(contract, layers=1, directions=1)


def stream_of(base: Contract, backend: type[Decay] = Decay, **changes: Any) -> tuple[Stream, Decay]:
    spec = changed(base, **changes)
    opened = backend(spec)
    return Session(spec, opened).stream(), opened


def frames(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 10), np.float32)


def expected(x: Array, width: int = 4) -> Array:
    h, rows = np.zeros(width, np.float32), []
    for frame in x:
        h = h / np.float32(2) + frame[:width]
        rows.append(h)
    return np.stack(rows)


def message(call: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    return str(caught.value)


def state_of(stream: Stream) -> list[bytes]:
    return [part.tobytes() for part in (stream.state.h, stream.state.c) if part is not None]


@pytest.mark.parametrize("form", TAKES_FRAMES)
def test_frames_give_what_the_recurrence_gives(base: Contract, form: str) -> None:
    stream, _ = stream_of(base, **FORMS[form])
    x = frames(4)
    y = np.stack([stream.push(frame) for frame in x])
    np.testing.assert_array_equal(y, expected(x, FORMS[form].get("projection_size", 4)))
    assert stream.frames == 4


@pytest.mark.parametrize("form", [name for name in FORMS if name != "unrolled-1"])
def test_a_chunk_gives_what_its_frames_give(base: Contract, form: str) -> None:
    stream, _ = stream_of(base, **FORMS[form])
    x = frames(6)
    y = np.concatenate([stream.push(x[:3]), stream.push(x[3:])])
    np.testing.assert_array_equal(y, expected(x, FORMS[form].get("projection_size", 4)))
    assert stream.frames == 6


@pytest.mark.parametrize("form", [name for name in FORMS if name != "unrolled-1"])
def test_a_flush_owes_nothing_where_every_frame_has_its_result(base: Contract, form: str) -> None:
    stream, _ = stream_of(base, **FORMS[form])
    x, width = frames(6), FORMS[form].get("projection_size", 4)
    y = np.concatenate([stream.push(x[:3]), stream.flush(x[3:])])
    np.testing.assert_array_equal(y, expected(x, width))
    stream.reset()
    assert stream.flush().shape == (0, width)
    with pytest.raises(InputError, match=r"flush\(\) has ended"):
        stream.push(x[:3])


@pytest.mark.parametrize("form", ["encoder", "batch-first", "unrolled-3"])
def test_a_chunk_is_one_run_of_an_encoder(base: Contract, form: str) -> None:
    stream, backend = stream_of(base, **FORMS[form])
    stream.push(frames(3))
    assert [feeds["x"].shape for feeds in backend.feeds] == [(1, 3, 10) if form == "batch-first" else (3, 1, 10)]


def test_a_chunk_is_a_loop_of_steps_on_a_step(base: Contract) -> None:
    stream, backend = stream_of(base, form="step")
    stream.push(frames(3))
    assert [feeds["x"].shape for feeds in backend.feeds] == [(1, 10)] * 3


def test_a_model_with_lengths_takes_chunks_whole(base: Contract) -> None:
    stream, backend = stream_of(base, lengths=True)
    stream.push(frames(3))
    stream.push(frames(1)[0])
    assert [feeds["lengths"].tolist() for feeds in backend.feeds] == [[3], [1]]


def test_streams_of_one_session_keep_apart(base: Contract) -> None:
    first, _ = stream_of(base)
    second, x = Stream(first._session), frames(3)
    first.push(x[0])
    second.push(x[2])
    np.testing.assert_array_equal(first.push(x[1]), expected(x[:2])[-1])
    assert (first.frames, second.frames) == (2, 1)


def test_outputs_and_states_do_not_change_each_other(base: Contract) -> None:
    for form in ("encoder", "step"):
        stream, _ = stream_of(base, **FORMS[form])
        x = frames(3)
        stream.push(x[0])[:] = 9
        stream.push(x[1:2])[:] = 9
        stream.state.h[:] = 9
        np.testing.assert_array_equal(stream.push(x[2]), expected(x)[-1])


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(torch.ones(10), id="tensor"),
        pytest.param(np.ones(10, np.float32).data, id="memoryview"),
        pytest.param(np.ones((10, 3), np.float32)[:, 1], id="strided"),
        pytest.param(np.ones(10, np.float32)[::-1], id="backwards"),
        pytest.param(np.ones((1, 10), np.float32).view(type("Subclass", (np.ndarray,), {})), id="subclass"),
    ],
)
@pytest.mark.parametrize("form", ["encoder", "step"])
def test_whatever_shows_an_array_is_taken(base: Contract, x: Any, form: str) -> None:
    stream, _ = stream_of(base, **FORMS[form])
    np.testing.assert_array_equal(stream.push(x).reshape(4), np.ones(4))


@pytest.mark.parametrize("form", ["encoder", "step", "unrolled-3"])
def test_out_is_written_and_given_back(base: Contract, form: str) -> None:
    stream, _ = stream_of(base, **FORMS[form])
    out, x = np.empty((3, 8), np.float32)[:, ::2], frames(4)
    assert stream.push(x[:3], out=out) is out
    np.testing.assert_array_equal(out, expected(x[:3]))
    if form != "unrolled-3":
        assert stream.push(x[3], out=out[0]).base is out.base
        np.testing.assert_array_equal(out[0], expected(x)[-1])


def test_out_may_be_the_memory_of_x(base: Contract) -> None:
    x = frames(6).reshape(-1)[:40].copy()
    chunk, out = x.reshape(4, 10), x[2:18].reshape(4, 4)
    for form in ("encoder", "step"):
        stream, _ = stream_of(base, **FORMS[form])
        wanted = expected(chunk)
        np.testing.assert_array_equal(stream.push(chunk, out=out), wanted)


@pytest.mark.parametrize(
    ("out", "got"),
    [
        pytest.param(np.empty((1, 4), np.float32), "float32 (1, 4)", id="shape"),
        pytest.param(np.empty(4), "float64 (4,)", id="dtype"),
        pytest.param(np.frombuffer(bytes(16), np.float32), "float32 (4,), read-only", id="read-only"),
        pytest.param([0.0] * 4, "list", id="list"),
    ],
)
def test_an_out_that_does_not_fit_is_refused_before_the_push(base: Contract, out: Any, got: str) -> None:
    stream, backend = stream_of(base)
    assert message(stream.push, frames(1)[0], out=out) == (
        f"out: got {got}, expected float32 (4,), writeable; leave it out for a new array"
    )
    assert not backend.feeds


@pytest.mark.parametrize(
    ("changes", "frame_or_chunk"),
    [
        pytest.param({}, "frame (10,) or chunk (T, 10)", id="encoder"),
        pytest.param({"form": "step"}, "frame (10,) or chunk (T, 10)", id="step"),
        pytest.param(FORMS["unrolled-1"], "frame (10,) or chunk (T, 10)", id="unrolled-1"),
        pytest.param(FORMS["unrolled-3"], "chunk (3, 10)", id="unrolled-3"),
    ],
)
@pytest.mark.parametrize(
    ("x", "got", "remedy"),
    [
        pytest.param(np.ones(10), "float64 (10,)", "cast it with .astype('float32')", id="float64"),
        pytest.param(np.ones(10, ">f4"), ">f4 (10,)", "cast it with .astype('float32')", id="byte-order"),
        pytest.param(
            np.ones(9, np.float32), "float32 (9,)", "push what the model takes (session.spec)", id="narrow-frame"
        ),
        pytest.param(
            np.ones((3, 9), np.float32), "float32 (3, 9)", "push what the model takes (session.spec)", id="narrow-chunk"
        ),
        pytest.param(
            np.ones((0, 10), np.float32), "float32 (0, 10)", "push what the model takes (session.spec)", id="no-frames"
        ),
        pytest.param(
            np.ones((3, 1, 10), np.float32),
            "float32 (3, 1, 10)",
            "a stream is one row: leave out the batch axis",
            id="batch",
        ),
        pytest.param(np.float32(1), "float32 ()", "push what the model takes (session.spec)", id="scalar"),
        pytest.param([1.0] * 10, "list", "give a NumPy array, or a tensor that NumPy or DLPack can view", id="list"),
    ],
)
def test_an_x_that_does_not_fit_is_refused(
    base: Contract, changes: dict[str, Any], frame_or_chunk: str, x: Any, got: str, remedy: str
) -> None:
    stream, backend = stream_of(base, **changes)
    assert message(stream.push, x) == f"input 'x': got {got}, expected float32, a {frame_or_chunk}; {remedy}"
    assert not backend.feeds


def test_an_unrolled_decoder_takes_chunks_of_its_steps_alone(base: Contract) -> None:
    stream, _ = stream_of(base, **FORMS["unrolled-3"])
    assert "got float32 (10,), expected float32, a chunk (3, 10)" in message(stream.push, frames(1)[0])
    assert "got float32 (6, 10), expected float32, a chunk (3, 10)" in message(stream.push, frames(6))


@pytest.mark.parametrize(
    ("changes", "got", "remedy"),
    [
        pytest.param(
            {"directions": 2},
            "a bidirectional encoder, which needs the whole sequence",
            "run whole sequences with Session.run",
            id="bidirectional",
        ),
        pytest.param(
            {"state_inputs": False},
            "a model without state inputs",
            "export it with state inputs",
            id="states",
        ),
    ],
)
def test_a_model_that_cannot_go_on_has_no_streams(
    base: Contract, changes: dict[str, Any], got: str, remedy: str
) -> None:
    assert message(stream_of, base, **changes) == (
        f"stream: got {got}, expected a model that goes on from a state; {remedy}"
    )


@pytest.mark.parametrize("form", ["encoder", "step"])
def test_a_failing_push_leaves_everything_as_it_was(base: Contract, form: str) -> None:
    stream, backend = stream_of(base, **FORMS[form])
    x, out = frames(5), np.full((3, 4), 7, np.float32)
    stream.push(x[:2])
    before = state_of(stream)
    backend.fails_after = len(backend.feeds) + (2 if form == "step" else 0)  # in mid-chunk where a chunk is steps
    with pytest.raises(BackendError):
        stream.push(x[2:], out=out)
    assert (state_of(stream), stream.frames, out.min()) == (before, 2, 7)
    backend.fails_after = None
    np.testing.assert_array_equal(stream.push(x[2:]), expected(x)[2:])


def test_a_new_stream_starts_from_zeros(base: Contract) -> None:
    for form in FORMS.values():
        stream, _ = stream_of(base, **form)
        assert not any(np.frombuffer(part, np.float32).any() for part in state_of(stream))
        assert stream.state.h.shape[-2] == 1


def test_the_state_of_a_cell_has_no_layers(base: Contract) -> None:
    assert stream_of(base, form="step")[0].state.h.shape == (1, 4)
    assert stream_of(base, layers=2)[0].state.h.shape == (2, 1, 4)


@pytest.mark.parametrize("form", FORMS)
def test_reset_starts_again_from_zeros_or_a_state(base: Contract, form: str) -> None:
    stream, _ = stream_of(base, **FORMS[form])
    x, size = frames(6), int(FORMS[form].get("steps", 3))
    first = stream.push(x[:size])
    middle = stream.state
    second = stream.push(x[:size])
    stream.reset()
    assert stream.frames == 0
    np.testing.assert_array_equal(stream.push(x[:size]), first)
    stream.reset(middle)
    np.testing.assert_array_equal(stream.push(x[:size]), second)
    assert stream.frames == size


def test_reset_keeps_no_array_of_the_caller(base: Contract) -> None:
    stream, _ = stream_of(base)
    state = State(np.ones((1, 1, 4), np.float32), np.ones((1, 1, 4), np.float32))
    stream.reset(state)
    state.h[:] = 5
    np.testing.assert_array_equal(stream.state.h, np.ones((1, 1, 4)))


@pytest.mark.parametrize(
    ("changes", "state", "text"),
    [
        pytest.param({}, (1, 2), "state: got tuple, expected State(h0, c0)", id="tuple"),
        pytest.param({}, State(np.ones((1, 1, 4), "f")), "state: got State(h0), expected State(h0, c0)", id="no-c"),
        pytest.param(
            {"cell": "gru"},
            State(np.ones((1, 1, 4), "f"), np.ones((1, 1, 4), "f")),
            "state: got State(h0, c0), expected State(h0)",
            id="gru-with-c",
        ),
        pytest.param(
            {},
            State(np.ones((1, 2, 4), "f"), np.ones((1, 2, 4), "f")),
            "state 'h0': got float32 (1, 2, 4), expected float32 (1, 1, 4)",
            id="batch-of-2",
        ),
        pytest.param(
            {},
            State(np.ones((1, 1, 4), "f"), np.ones((1, 1, 4))),
            "state 'c0': got float64 (1, 1, 4), expected float32 (1, 1, 4)",
            id="float64",
        ),
        pytest.param(
            {"cell": "gru"},
            State(Tensor(np.ones((1, 2, 4), "f"), None)),
            "state 'h0': got (1, 2, 4) on a device, expected float32 (1, 1, 4)",
            id="device",
        ),
    ],
)
def test_a_state_that_does_not_fit_leaves_the_old_one(
    base: Contract, changes: dict[str, Any], state: Any, text: str
) -> None:
    stream, _ = stream_of(base, **changes)
    stream.push(frames(2))
    before = state_of(stream)
    assert message(stream.reset, state).startswith(text)
    assert (state_of(stream), stream.frames) == (before, 2)


@pytest.mark.parametrize("form", FORMS)
def test_a_restored_stream_goes_on_where_the_other_was(base: Contract, form: str) -> None:
    stream, _ = stream_of(base, **FORMS[form])
    x, size = frames(6), int(FORMS[form].get("steps", 3))
    stream.push(x[:size])
    data = stream.snapshot()
    going_on = stream.push(x[:size])
    for other in (stream_of(base, **FORMS[form])[0], Stream(stream._session, data)):
        other.restore(memoryview(data))
        assert other.frames == 0
        np.testing.assert_array_equal(other.push(x[:size]), going_on)
    stream.restore(data)
    np.testing.assert_array_equal(stream.push(x[:size]), going_on)


def test_a_snapshot_of_a_new_stream_is_zeros(base: Contract) -> None:
    stream, _ = stream_of(base)
    other, _ = stream_of(base)
    other.push(frames(1)[0])
    other.restore(stream.snapshot())
    assert not other.state.h.any()


def test_a_refused_snapshot_leaves_the_old_state(base: Contract) -> None:
    stream, _ = stream_of(base)
    stream.push(frames(2))
    before, data = state_of(stream), stream.snapshot()
    with pytest.raises(SnapshotError):
        stream.restore(data[:-1])
    assert (state_of(stream), stream.frames) == (before, 2)


def test_a_model_trained_again_goes_on_on_demand(base: Contract) -> None:
    old, _ = stream_of(base)
    old.push(frames(2))
    new, _ = stream_of(base, source=replace(base.source, weights_sha256="cd" * 32))
    with pytest.raises(SnapshotError, match="any_weights=True"):
        new.restore(old.snapshot())
    new.restore(old.snapshot(), any_weights=True)
    assert state_of(new) == state_of(old)
    assert state_of(Stream(new._session, old.snapshot(), any_weights=True)) == state_of(old)


@pytest.mark.parametrize("form", ["encoder", "step"])
def test_a_state_on_a_device_stays_there_until_asked(base: Contract, form: str) -> None:
    stream, backend = stream_of(base, DeviceDecay, **FORMS[form])
    x = frames(4)
    for frame in x:
        stream.push(frame)
    inputs = [feeds["h0"] for feeds in backend.feeds[1:]]
    state = stream.state
    assert all(isinstance(part, DeviceTensor) for part in state.parts)
    # A step's y is the new h, which is copied to the host for the caller, and never once more for the next step.
    assert [part.copies for part in inputs] == [1 if form == "step" else 0] * 3
    assert [feeds["c0"].copies for feeds in backend.feeds[1:]] == [0] * 3
    other, _ = stream_of(base, **FORMS[form])
    other.push(x)
    assert stream.snapshot() == other.snapshot()
    assert state_of(stream) == state_of(other)


def test_a_state_of_another_device_goes_on(base: Contract) -> None:
    stream, _ = stream_of(base, DeviceDecay)
    other, backend = stream_of(base)
    x = frames(5)
    stream.push(x[:2])
    other.reset(stream.state)
    np.testing.assert_array_equal(other.push(x[2:]), expected(x)[2:])
    assert type(backend.feeds[0]["h0"]) is np.ndarray


def test_a_closed_session_has_no_more_pushes(base: Contract) -> None:
    stream, _ = stream_of(base)
    stream.push(frames(2))
    stream._session.close()  # type: ignore[attr-defined]
    with pytest.raises(SessionClosedError):
        stream.push(frames(1)[0])
    assert stream.frames == 2
    assert stream.state.h.any()
    assert len(stream.snapshot()) > 44


def test_a_stream_says_what_it_is(base: Contract) -> None:
    stream, _ = stream_of(base)
    stream.push(frames(2))
    assert repr(stream) == "<Stream: 2 frames, on <Session: LSTM encoder, x (T, B, 10), on NumPy>>"


def test_forms_of_one_model_go_on_from_each_other(tmp_path: Path) -> None:
    torch.manual_seed(8)
    cell, layer = nn.LSTMCell(5, 8), nn.LSTM(5, 8)
    layer.load_state_dict({f"{key}_l0": value for key, value in cell.state_dict().items()})
    rnnx.export(layer, tmp_path / "encoder.onnx")
    rnnx.export(cell, tmp_path / "step.onnx")
    rnnx.export(cell, tmp_path / "unrolled.onnx", rnnx.ExportOptions(form="unrolled", steps=3))
    x = np.random.default_rng(8).standard_normal((9, 5), np.float32)
    with torch.no_grad():
        truth = layer.double()(torch.from_numpy(x).double()[:, None])[0][:, 0].numpy()
    data, outputs = None, []
    for name, chunk in (("encoder", x[:3]), ("step", x[3:6]), ("unrolled", x[6:])):
        with rnnx_runtime.load(tmp_path / f"{name}.onnx") as session:
            stream = session.stream(data)
            outputs.append(stream.push(chunk))
            data = stream.snapshot()
    np.testing.assert_allclose(np.concatenate(outputs), truth, atol=1e-6)
