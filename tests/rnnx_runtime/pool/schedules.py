"""Random schedules of a pool over a real model; every output and every state is held against a lone stream."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests.rnnx_runtime.pool.fakes import PATIENCE_S, Array, in_threads, wait_until
from tests.rnnx_runtime.pool.lone_steps import LoneSteps, by_name

from rnnx.parity.tolerances import products_per_sum, tolerance_for
from rnnx_runtime import DeadlineExceeded, PushCancelled, Session, State
from rnnx_runtime.backends.session_options import SessionOptions
from rnnx_runtime.backends.table import Backend, open_backend
from rnnx_runtime.files.model_file import read_model
from rnnx_runtime.pool import PoolOptions, PoolStream, Push, StreamPool

STREAMS = 6

INDEX = st.integers(0, STREAMS - 1)
FRAMES = st.integers(0, 7)
"""Steps of a push, each of one frame for most models; 0 is a single frame, or the least that a push may hold."""

WHOLE_MODEL_LIMIT = 1e-5
"""The most that results of a whole model may differ, of the largest of them or of 1."""


@dataclass
class Tally:
    """What the schedules of a run did, and the largest difference that they met."""

    schedules: int = 0
    steps: int = 0
    pushes: int = 0
    frames: int = 0
    cancelled: int = 0
    late: int = 0
    swaps: int = 0
    flushes: int = 0
    together: int = 0
    """Calls of `push_many`."""
    comparisons: int = 0
    """But for ends of sequences, which a lone stream runs at once and a pool step by step."""
    bitwise: int = 0
    largest: float = 0.0
    largest_share: float = 0.0
    """Of what was allowed."""


class Gate:
    """Holds the runs of all sessions that share it, so that requests pile up before a step."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self.hold, self.let_go, self.wait = self._open.clear, self._open.set, self._open.wait

    @property
    def is_held(self) -> bool:
        """Whether runs wait."""
        return not self._open.is_set()


class GatedBackend:
    """A backend behind a gate."""

    def __init__(self, backend: Backend, gate: Gate) -> None:
        self._backend, self._gate = backend, gate
        self.device, self.close = backend.device, backend.close

    def run(self, feeds: Mapping[str, Any], out: Mapping[str, Array] | None = None) -> list[Any]:
        """Run once the gate is open."""
        self._gate.wait()
        return self._backend.run(feeds, out)


def gated_session(path: Path, gate: Gate) -> Session:
    """A session on ONNX Runtime behind a gate."""
    model = read_model(path)
    return Session(model.contract, GatedBackend(open_backend("ort-cpu", model, SessionOptions()), gate))


@dataclass
class Conversation:
    """A stream, the lone one that it must equal, and its pushes whose results were not looked at yet."""

    stream: PoolStream
    lone: LoneSteps
    pending: list[tuple[Push, Any]] = field(default_factory=list)
    frames: int = 0
    """Applied since the state was last set."""


class PoolMachine(RuleBasedStateMachine):
    """A pool of six slots, and steps of at most four rows."""

    path: Path
    tally: Tally
    max_frames: int

    def __init__(self) -> None:
        super().__init__()
        self.tally.schedules += 1
        self.gate, always = Gate(), Gate()
        self.lone = gated_session(self.path, always)
        self.lone_steps = LoneSteps(self.lone)
        layout = self.lone_steps.layout
        self.statics = {name for name, own in layout.inputs.items() if layout.has_time and not own.is_sequence}
        options = PoolOptions(max_streams=STREAMS, max_batch=4, max_frames=self.max_frames, max_wait_us=200)
        self.pool = StreamPool(gated_session(self.path, self.gate), options)
        self.conversations: list[Conversation] = []
        self.left: list[Conversation] = []
        self.rng = np.random.default_rng(0)

    # Streams that come and go

    @precondition(lambda self: self.has_room and not self.gate.is_held)
    @rule()
    def join(self) -> None:
        """A stream begins at zeros."""
        self._wait_for_room()
        self.conversations.append(Conversation(self.pool.open(), LoneSteps(self.lone)))

    @precondition(lambda self: self.conversations and self.has_room and not self.gate.is_held)
    @rule(index=INDEX)
    def join_from_snapshot(self, index: int) -> None:
        """A stream begins where another is."""
        self._wait_for_room()
        source = self._pick(index)
        stream = self.pool.open(snapshot=source.stream.snapshot())
        self._drain(source)
        lone = LoneSteps(self.lone, source.lone.stream.snapshot())
        self.conversations.append(Conversation(stream, lone, frames=source.frames))

    @precondition(lambda self: self.conversations)
    @rule(index=INDEX)
    def leave(self, index: int) -> None:
        """A stream closes, maybe with pushes on their way, which are run."""
        leaving = self.conversations.pop(index % len(self.conversations))
        leaving.stream.close()
        self.left.append(leaving)

    @property
    def has_room(self) -> bool:
        """Whether a slot is free, or soon will be."""
        return len(self.conversations) < STREAMS

    def _wait_for_room(self) -> None:
        wait_until(lambda: bool(self.pool.slots.free), "who left has given back its slot")

    # Pushes

    @precondition(lambda self: self.conversations)
    @rule(index=INDEX, counts=st.lists(FRAMES, min_size=1, max_size=4))
    def submit(self, index: int, counts: list[int]) -> None:
        """Several frames and chunks of one stream, whose results are looked at later."""
        for count in counts:
            self._submit(self._pick(index), count, None)

    @precondition(lambda self: self.conversations)
    @rule(counts=st.lists(FRAMES, min_size=2, max_size=2 * STREAMS))
    def submit_to_all(self, counts: list[int]) -> None:
        """Frames and chunks of all streams side by side."""
        for index, count in enumerate(counts):
            self._submit(self._pick(index), count, None)

    @precondition(lambda self: self.conversations)
    @rule(index=INDEX, count=FRAMES, timeout_s=st.sampled_from([0.0, 0.0005, 60.0]))
    def submit_with_deadline(self, index: int, count: int, timeout_s: float) -> None:
        """A push that may be late: before its first step, between two, or not at all."""
        self._submit(self._pick(index), 4 * count, timeout_s)

    @precondition(lambda self: self.conversations)
    @rule(index=INDEX, place=st.integers(0, 9))
    def cancel(self, index: int, place: int) -> None:
        """A push is taken back, wherever it is."""
        pending = self._pick(index).pending
        if pending:
            pending[place % len(pending)][0].cancel()

    @precondition(lambda self: self.conversations and not self.gate.is_held)
    @rule(counts=st.lists(FRAMES, min_size=1, max_size=5))
    def push_from_threads(self, counts: list[int]) -> None:
        """Each stream in a thread of its own."""
        for each in self.conversations:
            self._drain(each)
        frames = [[self._frames(count) for count in counts] for _ in self.conversations]
        outputs = in_threads(
            [
                lambda stream=each.stream, xs=xs: [stream.push(x) for x in xs]  # type: ignore[misc]
                for each, xs in zip(self.conversations, frames, strict=True)
            ]
        )
        for each, xs, ys in zip(self.conversations, frames, outputs, strict=True):
            for x, y in zip(xs, ys, strict=True):
                self._compare_output(each, x, y)

    @precondition(lambda self: self.conversations and not self.gate.is_held)
    @rule(rows=st.lists(INDEX, min_size=1, max_size=2 * STREAMS))
    def push_many(self, rows: list[int]) -> None:
        """A frame of each of some streams in one call, in any order, some of them twice."""
        each = [self._pick(index) for index in rows]
        for own in each:
            self._drain(own)
        frames = [by_name(self._frames(0), self.lone.spec.plain_inputs) for _ in each]
        given = {name: np.stack([own[name] for own in frames]) for name in frames[0]}
        found = self.pool.push_many([own.stream for own in each], given).outputs
        for row, (own, x) in enumerate(zip(each, frames, strict=True)):
            self._compare_output(own, x, {name: value[row] for name, value in found.items()})
        self.tally.together += 1

    @precondition(lambda self: self.conversations and not self.gate.is_held)
    @rule(index=INDEX, rest=FRAMES)
    def flush(self, index: int, rest: int) -> None:
        """A stream's sequence ends, with frames that are no whole step or with none, and another begins."""
        each, last = self._pick(index), None
        if rest or self.statics:
            frames = by_name(self._frames(rest + 1), self.lone.spec.plain_inputs)
            last = {
                name: value if name in self.statics else self._cut(name, value, rest) for name, value in frames.items()
            }
        found = each.stream.flush(last)
        self._drain(each)
        self._compare_all(each, found, each.lone.stream.flush(last), is_split_alike=False)
        each.stream.reset()
        each.lone.stream.reset()
        each.frames = 0
        self.tally.flushes += 1

    # States

    @precondition(lambda self: self.conversations and not self.gate.is_held)
    @rule(index=INDEX)
    def reset(self, index: int) -> None:
        """A stream begins anew after its pushes."""
        each = self._pick(index)
        each.stream.reset()
        self._drain(each)
        each.lone.stream.reset()
        each.frames = 0

    @precondition(lambda self: self.conversations and self.lone.spec.bare and not self.gate.is_held)
    @rule(index=INDEX, scale=st.floats(-1, 1, width=32))
    def set_state(self, index: int, scale: float) -> None:
        """A stream goes on from a state that it is given."""
        each = self._pick(index)
        zeros = self.lone.initial_state(1)
        h = zeros.h + np.float32(scale)
        state = State(h) if zeros.c is None else State(h, zeros.c - np.float32(scale))
        each.stream.reset(state)
        self._drain(each)
        each.lone.stream.reset(state)
        each.frames = 0

    @precondition(lambda self: self.conversations and not self.gate.is_held)
    @rule(index=INDEX, into=INDEX)
    def restore(self, index: int, into: int) -> None:
        """A stream goes on where another is."""
        source, other = self._pick(index), self._pick(into)
        other.stream.restore(source.stream.snapshot())
        self._drain(source)
        self._drain(other)
        other.lone.stream.restore(source.lone.stream.snapshot())
        other.frames = source.frames

    @precondition(lambda self: self.conversations and not self.gate.is_held)
    @rule(index=INDEX)
    def look(self, index: int) -> None:
        """All results of a stream and its states are as of the lone one."""
        each = self._pick(index)
        state = each.stream.state
        self._drain(each)
        self._compare_all(each, state, each.lone.stream.state)

    # The pool

    @rule()
    def hold(self) -> None:
        """The step that begins next stays, and requests pile up behind it."""
        self.gate.hold()

    @rule()
    def let_go(self) -> None:
        """It ends."""
        self.gate.let_go()

    @precondition(lambda self: not self.gate.is_held)
    @rule()
    def swap(self) -> None:
        """Another session of the same weights takes over."""
        self.pool.swap(gated_session(self.path, self.gate))
        self.tally.swaps += 1

    @invariant()
    def count(self) -> None:
        """One more step of a schedule."""
        self.tally.steps += 1

    def teardown(self) -> None:
        """Look at all that is left, close all, and find every slot free."""
        self.gate.let_go()
        while self.conversations:
            self.look(0)
            self.leave(0)
        for each in self.left:
            self._drain(each)
        self.pool.close()
        self.lone.close()
        assert sorted(self.pool.slots.free) == list(range(STREAMS))
        assert self.pool.metrics().queue_depth == 0

    # What a schedule is compared by

    def _pick(self, index: int) -> Conversation:
        return self.conversations[index % len(self.conversations)]

    def _frames(self, count: int) -> Any:
        return self.lone_steps.drawn(count, self.rng)

    def _cut(self, name: str, value: Array, rest: int) -> Array:
        """The chunk without some of its frames; at most all of its last step's."""
        axis = self.lone_steps.layout.inputs[name].chunk_axis
        unit = self.lone_steps.layout.inputs[name].unit
        return value.take(range(value.shape[axis] - min(unit, rest)), axis)

    def _submit(self, each: Conversation, count: int, timeout_s: float | None) -> None:
        x = self._frames(count)
        each.pending.append((each.stream.submit(x, timeout_s=timeout_s), x))

    def _drain(self, each: Conversation) -> None:
        """The results in the order of the pushes: one that was dropped has left no trace in those after it."""
        pending, each.pending = each.pending, []
        for push, x in pending:
            try:
                y = push.result(timeout_s=PATIENCE_S)
            except PushCancelled:
                self.tally.cancelled += 1
            except DeadlineExceeded:
                self.tally.late += 1
            else:
                self._compare_output(each, x, y)

    def _compare_output(self, each: Conversation, x: Any, y: Any) -> None:
        frames = self.lone_steps.steps(x)
        each.frames += frames
        self.tally.pushes += 1
        self.tally.frames += frames
        self._compare_all(each, y, each.lone.push(x))

    def _compare_all(self, each: Conversation, found: Any, expected: Any, *, is_split_alike: bool = True) -> None:
        if not isinstance(expected, Mapping):
            self._compare(each, found, expected, is_split_alike)
            return
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            self._compare(each, found[name], value, is_split_alike)

    def _compare(self, each: Conversation, value: Array, expected: Array, is_split_alike: bool) -> None:
        """Both within the limit of one truth, so that they differ by at most twice it, as `rnnx.checks` has it."""
        assert value.shape == expected.shape
        scale = float(np.abs(expected).max(initial=0))
        limit = self._layer_limit(each, scale) if self.lone.spec.bare else WHOLE_MODEL_LIMIT * max(scale, 1)
        largest = float(np.abs(value.astype(np.float64) - expected).max(initial=0))
        tally = self.tally
        tally.comparisons += is_split_alike
        tally.bitwise += is_split_alike and value.tobytes() == expected.tobytes()
        tally.largest, tally.largest_share = max(tally.largest, largest), max(tally.largest_share, largest / limit)
        assert largest <= limit

    def _layer_limit(self, each: Conversation, scale: float) -> float:
        spec, tolerance = self.lone.spec, tolerance_for(self.lone.spec.precision)
        depth = max(each.frames, 1) * spec.layer().layers
        return 2 * tolerance.floor(products_per_sum(spec.layer()), depth, scale)


def run_schedules(path: Path, examples: int, steps: int, *, derandomize: bool = True, max_frames: int = 3) -> Tally:
    """Run random schedules over a model's file; a failing one is shrunk and raises.

    With `max_frames` of 1 the pool takes one step of time a run, as lone streams do here.
    """
    tally = Tally()
    machine = type("Machine", (PoolMachine,), {"path": path, "tally": tally, "max_frames": max_frames})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=derandomize,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return tally
