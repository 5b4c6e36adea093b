"""Whatever streams do in a pool, each gets what a session of its own would give it, frame by frame."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from numpy.typing import NDArray

import rnnx
from rnnx_runtime import DeadlineExceeded, PoolOptions, PoolStream, Session, State, StreamPool, load

Array = NDArray[Any]

INPUT, HIDDEN = 5, 8
MODELS: dict[str, tuple[torch.nn.Module, rnnx.ExportOptions]] = {
    "lstm": (torch.nn.LSTM(INPUT, HIDDEN), rnnx.ExportOptions()),
    "gru-2-batch-first": (torch.nn.GRU(INPUT, HIDDEN, 2, batch_first=True), rnnx.ExportOptions()),
    "lstm-lengths": (torch.nn.LSTM(INPUT, HIDDEN), rnnx.ExportOptions(lengths=True)),
    "lstm-step": (torch.nn.LSTMCell(INPUT, HIDDEN), rnnx.ExportOptions()),
    "gru-step": (torch.nn.GRUCell(INPUT, HIDDEN), rnnx.ExportOptions()),
}
EXAMPLES = 60
"""Schedules of up to 40 moves for each model."""
BOUND = 1e-6
"""ONNX Runtime gives a row the same in any batch, nearly always to the last bit; a chunk may round as its T does."""


class _Lone:
    """One stream on a session of its own, one step a frame."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.state = session.initial_state(1)

    def push(self, x: Array) -> Array:
        outputs = []
        for frame in np.atleast_2d(x):
            y, self.state = self._session.step(frame[None], self.state)
            outputs.append(y[0])
        return outputs[0] if x.ndim == 1 else np.array(outputs)


class _PoolMachine(RuleBasedStateMachine):
    """Random schedules of a pool of four slots, in which every output and state is compared."""

    path: Path

    def __init__(self) -> None:
        super().__init__()
        self.lone = load(self.path, "ort-cpu")
        self.pool = StreamPool(load(self.path, "ort-cpu"), PoolOptions(max_streams=4, max_batch=3, max_frames=3))
        self.streams: list[tuple[PoolStream, _Lone]] = []
        self.rng = np.random.default_rng(0)

    def _pick(self, index: int) -> tuple[PoolStream, _Lone]:
        return self.streams[index % len(self.streams)]

    def _frames(self, count: int) -> Array:
        shape = (count, INPUT) if count else (INPUT,)
        return self.rng.standard_normal(shape).astype(np.float32)

    @precondition(lambda self: len(self.streams) < 4)
    @rule()
    def join(self) -> None:
        self.streams.append((self.pool.open(), _Lone(self.lone)))

    @precondition(lambda self: self.streams)
    @rule(index=st.integers(0, 3), count=st.integers(0, 7))
    def push(self, index: int, count: int) -> None:
        stream, lone = self._pick(index)
        x = self._frames(count)
        _assert_close(stream.push(x), lone.push(x))

    @precondition(lambda self: self.streams)
    @rule(counts=st.lists(st.integers(0, 7), min_size=1, max_size=12))
    def push_at_once(self, counts: list[int]) -> None:
        """Frames and chunks of all streams, several of one stream too, before any result is taken."""
        pushes = []
        for index, count in enumerate(counts):
            stream, lone = self._pick(index)
            x = self._frames(count)
            pushes.append((stream.submit(x), lone.push(x)))
        for push, expected in pushes:
            _assert_close(push.result(), expected)

    @precondition(lambda self: self.streams)
    @rule(index=st.integers(0, 3), count=st.integers(0, 30))
    def cancel(self, index: int, count: int) -> None:
        """A cancelled push was all or nothing, wherever it was."""
        stream, lone = self._pick(index)
        x = self._frames(count)
        push = stream.submit(x)
        if not push.cancel():
            _assert_close(push.result(), lone.push(x))

    @precondition(lambda self: self.streams)
    @rule(index=st.integers(0, 3), count=st.integers(0, 30))
    def push_too_late(self, index: int, count: int) -> None:
        stream, lone = self._pick(index)
        x = self._frames(count)
        push = stream.submit(x, timeout_s=0.0)
        try:
            y = push.result()
        except DeadlineExceeded:
            return
        _assert_close(y, lone.push(x))

    @precondition(lambda self: self.streams)
    @rule(index=st.integers(0, 3))
    def reset(self, index: int) -> None:
        stream, lone = self._pick(index)
        stream.reset()
        lone.state = self.lone.initial_state(1)

    @precondition(lambda self: self.streams)
    @rule(index=st.integers(0, 3), scale=st.floats(-1, 1))
    def set_state(self, index: int, scale: float) -> None:
        stream, lone = self._pick(index)
        zeros = self.lone.initial_state(1)
        h = zeros.h + np.float32(scale)
        state = State(h) if zeros.c is None else State(h, zeros.c - np.float32(scale))
        stream.reset(state)
        lone.state = state

    @precondition(lambda self: self.streams)
    @rule(source=st.integers(0, 3), into=st.integers(0, 3))
    def restore(self, source: int, into: int) -> None:
        stream, lone = self._pick(source)
        other, other_lone = self._pick(into)
        other.restore(stream.snapshot())
        other_lone.state = lone.state

    @precondition(lambda self: self.streams)
    @rule(index=st.integers(0, 3))
    def leave(self, index: int) -> None:
        stream, _ = self.streams.pop(index % len(self.streams))
        stream.close()

    @rule()
    def swap(self) -> None:
        self.pool.swap(load(self.path, "ort-cpu"))

    @invariant()
    def states_are_equal(self) -> None:
        for stream, lone in self.streams:
            state = stream.state
            _assert_close(state.h, lone.state.h)
            if state.c is not None and lone.state.c is not None:
                _assert_close(state.c, lone.state.c)

    def teardown(self) -> None:
        for stream, _ in self.streams:
            stream.close()
        self.pool.close()
        self.lone.close()
        assert len(self.pool.slots.free) == 4
        assert self.pool.metrics().queue_depth == 0


def _assert_close(actual: Array, expected: Array) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= BOUND


@pytest.mark.parametrize("name", MODELS)
def test_any_schedule_gives_what_lone_sessions_give(name: str, tmp_path: Path) -> None:
    module, options = MODELS[name]
    path = tmp_path / "model.onnx"
    rnnx.export(module, path, options)
    machine = type("Machine", (_PoolMachine,), {"path": path})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
