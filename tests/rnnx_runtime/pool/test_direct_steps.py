"""Blocking pushes that find nobody at work run in their caller's thread, by the rules of all pushes."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx_runtime.pool.conftest import MakePool
from tests.rnnx_runtime.pool.fakes import (
    PATIENCE_S,
    ManualClock,
    frame,
    in_threads,
    lone,
    same_state,
    session_of,
    wait_until,
)
from tests.test_every_model import KINDS

import rnnx
from rnnx_runtime import BackendError, PoolOptions, StepTimeout, StreamPool, load

STEP_S = 0.04


def in_a_thread(function: Any) -> Any:
    """What a function gives in a thread that no signal's handler interrupts."""
    return in_threads([function])[0]


def thread_of_steps(backend: Any) -> list[str]:
    """The names of the threads that run the steps from now on."""
    names: list[str] = []
    run = backend.run

    def noted(feeds: Any, out: Any = None) -> Any:
        names.append(threading.current_thread().name)
        return run(feeds, out)

    backend.run = noted
    return names


def settled(pool: StreamPool) -> None:
    """Wait until the pool's thread sleeps."""
    wait_until(lambda: not pool._running.worker.turn.is_taken, "the pool's thread sleeps")


def test_a_blocking_push_runs_in_its_caller_and_in_the_main_thread_does_not(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    names, stream, expected = thread_of_steps(backend), pool.open(), lone()
    settled(pool)
    assert np.array_equal(in_a_thread(lambda: stream.push(frame(1))), expected.push(frame(1)))
    settled(pool)
    assert np.array_equal(stream.push(frame(2)), expected.push(frame(2)))
    settled(pool)
    assert np.array_equal(in_a_thread(lambda: stream.push(frame(3), timeout_s=60)), expected.push(frame(3)))
    assert names[0] != "rnnx-pool"
    assert names[1:] == ["rnnx-pool"] * 2
    assert same_state(stream.state, expected.state)


def test_no_caller_runs_a_step_where_more_rows_are_waited_for(make_pool: MakePool) -> None:
    pool, backend = make_pool(adaptive=False, max_wait_us=1000)
    names, streams = thread_of_steps(backend), [pool.open() for _ in range(2)]
    settled(pool)
    in_a_thread(lambda: streams[0].push(frame(1)))
    assert names == ["rnnx-pool"]


def test_who_comes_while_a_caller_runs_a_step_is_served_after_it(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    streams, expected = [pool.open() for _ in range(3)], [lone() for _ in range(3)]
    settled(pool)
    backend.hold()
    outputs: dict[int, Any] = {}
    first = threading.Thread(target=lambda: outputs.update({0: streams[0].push(frame(1))}), daemon=True)
    first.start()
    backend.wait_until_held()
    pushes = [stream.submit(frame(2)) for stream in streams]
    assert pool.metrics().queue_depth == 4
    backend.let_go()
    first.join(PATIENCE_S)
    assert np.array_equal(outputs[0], expected[0].push(frame(1)))
    for push, one in zip(pushes, expected, strict=True):
        assert np.array_equal(push.result(timeout_s=PATIENCE_S), one.push(frame(2)))
    assert pool.metrics().queue_depth == 0


def test_a_step_that_fails_in_its_caller_leaves_the_state_and_the_pool_goes_on(make_pool: MakePool) -> None:
    pool, backend = make_pool()
    stream, expected = pool.open(), lone()
    for turn in range(5):
        settled(pool)
        assert np.array_equal(in_a_thread(lambda turn=turn: stream.push(frame(turn))), expected.push(frame(turn)))
        settled(pool)
        backend.failures.append(ValueError("no"))
        with pytest.raises(BackendError, match="ValueError: no"):
            in_a_thread(lambda: stream.push(frame(9)))
    assert pool.metrics().rejections["failed"] == 5
    assert pool.metrics().queue_depth == 0


def test_a_step_that_hangs_in_its_caller_refuses_what_comes_and_a_swap_goes_on(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock, step_timeout_s=STEP_S)
    hanging, stream = pool.open(), pool.open()
    settled(pool)
    backend.hold()
    caught: list[BaseException] = []

    def push() -> None:
        try:
            hanging.push(frame(1))
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=push, daemon=True)
    thread.start()
    backend.wait_until_held()
    waiting = stream.submit(frame(1))
    clock.advance(2 * STEP_S)
    with pytest.raises(StepTimeout):
        waiting.result(timeout_s=PATIENCE_S)
    pool.swap(session_of()[0])
    expected = lone()
    for value in range(3):
        assert np.array_equal(stream.push(frame(value)), expected.push(frame(value)))
    assert np.array_equal(in_a_thread(lambda: stream.push(frame(3))), expected.push(frame(3)))
    backend.let_go()
    thread.join(PATIENCE_S)
    assert isinstance(caught[0], StepTimeout)
    assert np.array_equal(hanging.push(frame(5)), lone().push(frame(5)))
    wait_until(lambda: backend.closed == 1, "the session that hung is closed")


def test_a_close_does_not_wait_for_a_caller_whose_step_hangs(make_pool: MakePool) -> None:
    clock = ManualClock()
    pool, backend = make_pool(clock=clock, step_timeout_s=STEP_S)
    stream = pool.open()
    settled(pool)
    backend.hold()
    caught: list[StepTimeout] = []

    def push() -> None:
        try:
            stream.push(frame(1))
        except StepTimeout as error:
            caught.append(error)

    thread = threading.Thread(target=push, daemon=True)
    thread.start()
    backend.wait_until_held()
    clock.advance(2 * STEP_S)
    wait_until(lambda: pool.describe()["status"] == "stalled", "the watch sees it")
    pool.close()
    backend.let_go()
    thread.join(PATIENCE_S)
    assert len(caught) == 1
    wait_until(lambda: backend.closed == 1, "the session is closed")


@pytest.mark.parametrize("name", ["layer", "layer-lengths", "cell", "scorer", "keywords", "policy"])
def test_pushes_in_callers_equal_lone_streams_bit_for_bit(name: str, tmp_path: Path) -> None:
    kind, path = KINDS[name], tmp_path / "model.onnx"
    torch.manual_seed(7)
    examples = {} if kind.example is None else {"example_inputs": kind.example}
    rnnx.export(kind.make().eval(), path, kind.options, **examples)
    with load(path, "ort-cpu") as alone, StreamPool(load(path, "ort-cpu"), PoolOptions(max_wait_us=0)) as pool:
        pairs = [(pool.open(), alone.stream()) for _ in range(3)]

        def push_all() -> int:
            chance, equal = np.random.default_rng(5), 0
            for turn in range(60):
                stream, other = pairs[int(chance.integers(3))]
                x = kind.pushes(turn, int(chance.integers(1, 3)), turn)
                found, expected = stream.push(x), other.push(x)
                for key, value in (expected if isinstance(expected, dict) else {"": expected}).items():
                    equal += (found[key] if isinstance(found, dict) else found).tobytes() == value.tobytes()
            return equal

        outputs = len(alone.spec.plain_outputs)
        assert in_a_thread(push_all) == 60 * outputs
        assert pool.metrics().pushes == 60
