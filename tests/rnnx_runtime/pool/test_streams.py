import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.rnnx_runtime.pool.conftest import MakePool
from tests.rnnx_runtime.pool.fakes import (
    Array,
    Lone,
    ManualClock,
    chunk,
    firsts,
    frame,
    in_threads,
    lone,
    same_state,
    session_of,
    wait_until,
)

from rnnx_runtime import (
    DeadlineExceeded,
    ForkedError,
    InputError,
    PushCancelled,
    SnapshotError,
    State,
    StreamClosedError,
)
from rnnx_runtime.pool import StreamPool

FORMS: dict[str, dict[str, Any]] = {
    "encoder": {},
    "encoder-gru": {"cell": "gru"},
    "encoder-2-layers": {"layers": 2},
    "encoder-batch-first": {"batch_first": True, "cell": "gru"},
    "encoder-lengths": {"lengths": True},
    "step": {"form": "step"},
    "step-gru": {"form": "step", "cell": "gru"},
    "unrolled-1": {"form": "unrolled", "steps": 1},
}


@pytest.mark.parametrize("changes", FORMS.values(), ids=FORMS)
def test_frames_and_chunks_of_a_stream_give_what_a_lone_session_gives(
    make_pool: MakePool, changes: dict[str, Any]
) -> None:
    pool, _ = make_pool(contract=changes)
    expected = lone(**changes)
    with pool.open() as stream:
        for x in (frame(1), chunk(2, 3, 4), chunk(5), frame(6)):
            assert np.array_equal(stream.push(x), expected.push(x))
        assert same_state(stream.state, expected.state)


@pytest.mark.parametrize("changes", FORMS.values(), ids=FORMS)
def test_streams_that_run_together_do_not_touch_each_other(make_pool: MakePool, changes: dict[str, Any]) -> None:
    pool, backend = make_pool(contract=changes, max_frames=2)
    streams = [pool.open() for _ in range(5)]
    expected = [lone(**changes) for _ in streams]
    backend.hold()
    pushes = []
    for turn, x in enumerate([frame(1), chunk(2, 3, 4), frame(5), chunk(*range(6, 13)), chunk(20, 21)]):
        for place, stream in enumerate(streams):
            shifted = x + np.float32(100 * place + turn)
            pushes.append((stream.submit(shifted), expected[place].push(shifted)))
    backend.let_go()
    for push, y in pushes:
        assert np.array_equal(push.result(), y)
    for stream, one in zip(streams, expected, strict=True):
        assert same_state(stream.state, one.state)


def test_pushes_of_a_stream_run_in_their_order_and_never_two_in_one_step(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    with pool.open() as stream:
        pushes = [stream.submit(frame(value)) for value in range(30)]
        for push in pushes:
            push.result()
    assert [firsts(run) for run in backend.frames] == [[[value]] for value in range(30)]


def test_the_caller_may_write_to_its_frame_after_a_push(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    with pool.open() as stream:
        backend.hold()
        x, xs = frame(1), chunk(2, 3)
        pushes = [stream.submit(x), stream.submit(xs)]
        x[:] = xs[:] = 77
        backend.let_go()
        for push in pushes:
            push.result()
    assert [firsts(run) for run in backend.frames] == [[[1]], [[2], [3]]]


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda x: memoryview(x), id="memoryview"),
        pytest.param(lambda x: np.stack([x, x + 9], axis=1)[:, 0], id="strided"),
        pytest.param(lambda x: x[::-1].copy()[::-1], id="reversed"),
        pytest.param(lambda x: np.asfortranarray(np.stack([x])), id="fortran-chunk"),
        pytest.param(lambda x: x.view(type("Sub", (np.ndarray,), {})), id="subclass"),
    ],
)
def test_a_frame_may_be_any_view_of_float32(make_pool: MakePool, view: Callable[[Array], Any]) -> None:
    pool, _ = make_pool()
    with pool.open() as stream:
        assert np.array_equal(np.ravel(stream.push(view(frame(5)))), lone().push(frame(5)))


@pytest.mark.parametrize(
    ("x", "got"),
    [
        pytest.param(np.ones(3), "float64 (3,)", id="float64"),
        pytest.param(np.ones(3, ">f4"), ">f4 (3,)", id="byte-order"),
        pytest.param(np.ones(3, object), "object (3,)", id="objects"),
        pytest.param(np.ones(4, np.float32), "float32 (4,)", id="width"),
        pytest.param(np.ones((2, 1, 3), np.float32), "float32 (2, 1, 3)", id="rank"),
        pytest.param(np.ones((), np.float32), "float32 ()", id="number"),
        pytest.param(np.ones((0, 3), np.float32), "float32 (0, 3)", id="no-frames"),
        pytest.param([1.0, 2.0, 3.0], "list", id="list"),
        pytest.param([[1.0], [2.0, 3.0]], "list", id="ragged"),
        pytest.param(None, "NoneType", id="none"),
    ],
)
def test_a_wrong_frame_fails_its_own_push_at_once(make_pool: MakePool, x: Any, got: str) -> None:
    pool, backend = make_pool()
    with pool.open() as stream:
        with pytest.raises(InputError) as caught:
            stream.submit(x)
        assert caught.value.got == got
        assert caught.value.expected == "float32, a frame (3,) or chunk (T, 3)"
        assert np.array_equal(stream.push(frame(1)), lone().push(frame(1)))
    assert len(backend.frames) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("is_chunk", [False, True], ids=["frame", "chunk"])
def test_a_frame_that_is_not_finite_is_rejected_before_it_runs(make_pool: MakePool, bad: float, is_chunk: bool) -> None:
    pool, backend = make_pool()
    x = chunk(1, 2) if is_chunk else frame(1)
    x.flat[1] = bad
    with pool.open() as stream:
        with pytest.raises(InputError, match="NaN or infinity in it"):
            stream.push(x)
        x.flat[1], x.flat[2] = -np.inf, np.inf
        with pytest.raises(InputError, match="NaN or infinity in it"):
            stream.push(x)
        assert np.array_equal(stream.push(frame(1)), lone().push(frame(1)))
    assert len(backend.frames) == 1


def test_large_finite_numbers_are_taken(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    with pool.open() as stream:
        stream.push(np.array([3e38, -3e38, 1], np.float32))
    assert backend.frames[0].max() == np.float32(3e38)


def test_a_propagated_nan_makes_its_own_stream_bad_and_no_other(make_pool: MakePool) -> None:
    pool, backend = make_pool(nan="propagate")
    bad, good, expected = pool.open(), pool.open(), lone()
    backend.hold()
    poisoned = frame(1)
    poisoned[1] = np.nan
    pushes = [(bad.submit(poisoned), good.submit(frame(1))), (bad.submit(frame(2)), good.submit(frame(2)))]
    backend.let_go()
    for turn, (one, other) in enumerate(pushes, 1):
        assert np.isnan(one.result()).all()
        assert np.array_equal(other.result(), expected.push(frame(turn)))
    bad.reset()
    assert np.array_equal(bad.push(frame(4)), lone().push(frame(4)))


def test_a_state_is_taken_and_given_after_the_pushes_before(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    one, other = lone(), lone()
    first, second = pool.open(), pool.open()
    backend.hold()
    pushes = [first.submit(frame(value)) for value in (1, 2)]
    results = in_threads([lambda: first.state, backend.let_go])
    for push, value in zip(pushes, (1, 2), strict=True):
        assert np.array_equal(push.result(), one.push(frame(value)))
    assert same_state(results[0], one.state)
    second.reset(results[0])
    other.state = one.state
    assert np.array_equal(second.push(frame(3)), other.push(frame(3)))
    first.reset()
    assert np.array_equal(first.push(frame(3)), lone().push(frame(3)))


@pytest.mark.parametrize("changes", FORMS.values(), ids=FORMS)
def test_a_streams_state_is_one_of_the_sessions_own(make_pool: MakePool, changes: dict[str, Any]) -> None:
    pool, _ = make_pool(contract=changes)
    session, _ = session_of(**changes)
    with pool.open() as stream:
        stream.push(frame(1))
        alone = Lone(session, stream.state)
        assert np.array_equal(alone.push(frame(2)), stream.push(frame(2)))
        stream.reset(alone.state)
        assert np.array_equal(stream.push(frame(3)), alone.push(frame(3)))


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(State(zeros(1, 2, 4), zeros(1, 2, 4)), id="two-rows"),
        pytest.param(State(zeros(1, 4), zeros(1, 4)), id="no-layers"),
        pytest.param(State(zeros(1, 1, 5), zeros(1, 1, 5)), id="size"),
        pytest.param(State(zeros(1, 1, 4)), id="no-c"),
        pytest.param(State(np.zeros((1, 1, 4)), np.zeros((1, 1, 4))), id="float64"),
        pytest.param((zeros(1, 1, 4), zeros(1, 1, 4)), id="tuple"),
    ],
)
def test_a_state_of_other_sizes_is_refused_and_changes_nothing(make_pool: MakePool, state: Any) -> None:
    pool, _ = make_pool()
    expected = lone()
    with pool.open() as stream:
        assert np.array_equal(stream.push(frame(1)), expected.push(frame(1)))
        with pytest.raises(InputError, match=r"^state( '[hc]0')?: got "):
            stream.reset(state)
        assert same_state(stream.state, expected.state)


def test_a_snapshot_goes_on_in_another_stream_and_another_pool(make_pool: MakePool) -> None:
    pool, _ = make_pool()
    other, _ = make_pool(contract={"form": "step"})
    expected = lone()
    with pool.open() as stream:
        stream.push(chunk(1, 2, 3))
        expected.push(chunk(1, 2, 3))
        data = stream.snapshot()
        y = expected.push(frame(4))
        assert np.array_equal(pool.open(snapshot=data).push(frame(4)), y)
        assert np.array_equal(other.open(snapshot=data).push(frame(4)), y)
        stream.reset()
        stream.restore(data)
        assert np.array_equal(stream.push(frame(4)), y)


def test_a_damaged_snapshot_takes_no_slot_and_changes_no_stream(make_pool: MakePool) -> None:
    pool, _ = make_pool(max_streams=1)
    expected = lone()
    with pool.open() as stream:
        assert np.array_equal(stream.push(frame(1)), expected.push(frame(1)))
        data = bytearray(stream.snapshot())
        data[-40] ^= 1
        with pytest.raises(SnapshotError):
            stream.restore(bytes(data))
        assert np.array_equal(stream.push(frame(2)), expected.push(frame(2)))
    wait_until(lambda: bool(pool.slots.free), "the slot is free")
    with pytest.raises(SnapshotError):
        pool.open(snapshot=bytes(data))
    pool.open().close()


def test_an_earlier_versions_snapshot_is_taken_where_that_is_said(make_pool: MakePool) -> None:
    pool, _ = make_pool()
    with pool.open() as stream:
        stream.push(frame(1))
        data, state = stream.snapshot(), stream.state
    source = type(pool.spec.source)(file="new.pt", module="rnn", weights_sha256="cd" * 32)
    newer, _ = make_pool(contract={"source": source})
    with pytest.raises(SnapshotError, match="weights"):
        newer.open(snapshot=data)
    assert same_state(newer.open(snapshot=data, any_weights=True).state, state)


def test_a_cancelled_push_leaves_the_state_as_it_was(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    expected = lone()
    with pool.open() as stream:
        backend.hold()
        pushes = [stream.submit(frame(value)) for value in (1, 2, 3)]
        backend.wait_until_held()
        assert pushes[1].cancel()
        assert pushes[0].cancel()  # it runs, and is undone
        backend.let_go()
        assert np.array_equal(pushes[2].result(), expected.push(frame(3)))
        assert same_state(stream.state, expected.state)
        for push in pushes[:2]:
            with pytest.raises(PushCancelled):
                push.result()
    assert pool.metrics().rejections["cancelled"] == 2


@pytest.mark.parametrize("steps", [1, 2, 3], ids=lambda steps: f"in-step-{steps + 1}")
@pytest.mark.parametrize("changes", [{}, {"form": "step"}], ids=["encoder", "step"])
def test_a_chunk_cancelled_half_way_is_undone(make_pool: MakePool, steps: int, changes: dict[str, Any]) -> None:
    pool, backend = make_pool(contract=changes, max_frames=2)
    expected = lone(**changes)
    with pool.open() as stream, pool.open() as mate:
        assert np.array_equal(stream.push(frame(9)), expected.push(frame(9)))
        backend.hold()
        mates = mate.submit(chunk(*range(40)))
        push = stream.submit(chunk(*range(1, 9)))
        for _ in range(steps):
            backend.wait_until_held()
            backend.let_one_go()
        backend.wait_until_held()
        assert push.started > 0 or steps == 1
        assert push.cancel()
        after = stream.submit(frame(50))
        backend.let_go()
        assert np.array_equal(after.result(), expected.push(frame(50)))
        assert np.array_equal(mates.result(), lone(**changes).push(chunk(*range(40))))
        assert same_state(stream.state, expected.state)


def test_a_deadline_that_is_over_before_the_step_leaves_the_state_alone(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock)
    expected = lone()
    with pool.open() as stream:
        backend.hold()
        first = stream.submit(frame(1))
        backend.wait_until_held()
        late, punctual = stream.submit(frame(2), timeout_s=5), stream.submit(frame(3), timeout_s=50)
        clock.advance(5)
        backend.let_go()
        wait_until(lambda: late.is_done, "the late push is told so")
        assert np.array_equal(first.result(), expected.push(frame(1)))
        assert np.array_equal(punctual.result(), expected.push(frame(3)))
        with pytest.raises(DeadlineExceeded, match="push: got no step within 5 s"):
            late.result()
    assert pool.metrics().rejections["late"] == 1
    assert firsts(backend.frames[1]) == [[3]]


def test_a_deadline_within_a_chunk_undoes_what_has_run(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock, max_frames=1)
    expected = lone()
    with pool.open() as stream:
        assert np.array_equal(stream.push(frame(9)), expected.push(frame(9)))
        backend.hold()
        late = stream.submit(chunk(1, 2, 3), timeout_s=5)
        backend.wait_until_held()
        clock.advance(6)
        backend.let_go()
        with pytest.raises(DeadlineExceeded):
            late.result()
        assert same_state(stream.state, expected.state)


def test_who_waits_is_told_at_the_deadline_though_the_step_goes_on(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    expected = lone()
    with pool.open() as stream:
        backend.hold()
        with pytest.raises(DeadlineExceeded):
            stream.push(frame(1), timeout_s=0.02)
        backend.let_go()
        assert np.array_equal(stream.push(frame(2)), expected.push(frame(2)))


@pytest.mark.parametrize("timeout_s", [float("nan"), float("inf"), "5", [1]], ids=repr)
def test_a_timeout_is_a_number_of_seconds(make_pool: MakePool, timeout_s: Any) -> None:
    pool, backend = make_pool()
    with pool.open() as stream:
        with pytest.raises(InputError, match=r"^timeout_s: got .*, expected a number of seconds, or None"):
            stream.push(frame(1), timeout_s=timeout_s)
        with pytest.raises(DeadlineExceeded):
            stream.push(frame(1), timeout_s=-1)
        stream.push(frame(1), timeout_s=1e300)
    assert len(backend.frames) == 1


def test_a_closed_stream_refuses_everything_at_once(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    stream = pool.open("one")
    data = stream.snapshot()
    backend.hold()
    before = stream.submit(frame(1))
    stream.close()
    stream.close()
    for ask in (
        lambda: stream.push(frame(1)),
        lambda: stream.submit(frame(1)),
        lambda: stream.state,
        stream.reset,
        stream.snapshot,
        lambda: stream.restore(data),
    ):
        with pytest.raises(StreamClosedError, match="stream 'one': got a request after close, expected an open stream"):
            ask()
    backend.let_go()
    assert np.array_equal(before.result(), lone().push(frame(1)))


def test_a_slot_goes_to_the_next_stream_clean_and_is_never_shared(make_pool: MakePool) -> None:
    """Streams close while others push to the same slot's former owner: no push of the old ever reaches the new."""
    pool, _ = make_pool(max_streams=2)
    stay = pool.open()

    def come_and_go() -> None:
        for turn in range(200):
            wait_until(lambda: bool(pool.slots.free), "a slot is free")
            with pool.open() as stream:
                pushes = [stream.submit(frame(turn)) for _ in range(3)]
            one = lone()
            for push in pushes:
                assert np.array_equal(push.result(), one.push(frame(turn)))

    def push_on() -> None:
        one = lone()
        for turn in range(300):
            assert np.array_equal(stay.push(frame(turn)), one.push(frame(turn)))

    in_threads([come_and_go, push_on])


def test_a_push_that_races_a_close_runs_or_is_refused(make_pool: MakePool) -> None:
    pool, _ = make_pool(max_streams=2)
    outcomes = set()
    for _ in range(150):
        wait_until(lambda: len(pool.slots.free) == 2, "both slots are free")
        stream = pool.open()
        pushed = in_threads([lambda stream=stream: outcome_of(stream), stream.close])[0]  # type: ignore[misc]
        outcomes.add(pushed)
        with pool.open() as other:
            assert np.array_equal(other.push(frame(2)), lone().push(frame(2)))
    assert outcomes <= {"ran", "refused"}


def outcome_of(stream: Any) -> str:
    try:
        y = stream.push(frame(1))
    except StreamClosedError:
        return "refused"
    return "ran" if np.array_equal(y, lone().push(frame(1))) else "wrong"


def test_a_result_may_be_asked_for_from_two_threads(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    with pool.open() as stream:
        for value in range(100):
            backend.hold()
            push = stream.submit(frame(value))
            one, other, _ = in_threads([push.result, push.result, backend.let_go])
            assert np.array_equal(one, other)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # that is the point
def test_a_forked_child_is_refused_and_does_not_hang(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    with pool.open() as stream:
        backend.hold()
        push = stream.submit(frame(1))
        with pool.lock:  # as a thread of the parent may at any time
            child = os.fork()
            if child == 0:
                os._exit(_in_child(pool, stream, push))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        backend.let_go()
        assert np.array_equal(push.result(), lone().push(frame(1)))


def _in_child(pool: StreamPool, stream: Any, push: Any) -> int:
    """The number of the first thing that was not as it should be, 0 for none; the lock is taken in the child."""
    threading.Thread(target=lambda: (threading.Event().wait(15), os._exit(99)), daemon=True).start()
    session, _ = session_of()
    asks = [
        lambda: stream.push(frame(1)),
        lambda: stream.submit(frame(1)),
        lambda: stream.state,
        stream.snapshot,
        stream.reset,
        pool.open,
        lambda: pool.swap(session),
        push.result,
        push.cancel,
    ]
    for number, ask in enumerate(asks, 1):
        try:
            ask()
        except ForkedError:
            continue
        except BaseException:
            return number
        return 50 + number
    stream.close()
    pool.describe()
    pool.close()
    return 0


def test_one_bad_push_of_many_fails_alone(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    streams = [pool.open() for _ in range(8)]
    expected = [lone() for _ in streams]
    backend.hold()
    pushes = []
    for place, stream in enumerate(streams):
        x = frame(place)
        if place == 3:
            x[0] = np.nan
            with pytest.raises(InputError):
                stream.submit(x)
        else:
            pushes.append((stream.submit(x), expected[place].push(x)))
    backend.let_go()
    for push, y in pushes:
        assert np.array_equal(push.result(), y)
    assert np.array_equal(streams[3].push(frame(1)), expected[3].push(frame(1)))


def test_a_push_knows_whether_it_is_done(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    with pool.open() as stream:
        backend.hold()
        push = stream.submit(frame(1))
        assert not push.is_done
        backend.let_go()
        push.result()
        assert push.is_done


def test_a_stream_says_its_name_and_its_pool(make_pool: MakePool) -> None:
    pool, _ = make_pool()
    assert [pool.open().name, pool.open("ann").name, pool.open().name] == ["1", "ann", "2"]
    assert repr(pool.open("bob")) == "<PoolStream 'bob' of <StreamPool: serving, 4 of 16 streams>>"
