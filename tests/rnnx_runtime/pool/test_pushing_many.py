"""A frame of each of many streams in one call gives what each stream's own push would give."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx_runtime.pool.conftest import MakePool
from tests.rnnx_runtime.pool.fakes import frame, in_threads, lone, same_state, wait_until
from tests.rnnx_runtime.pool.random_pushes import by_name
from tests.test_every_model import KINDS

import rnnx
from rnnx_runtime import (
    BackendError,
    DeadlineExceeded,
    InputError,
    PoolOptions,
    PoolOverloaded,
    StreamClosedError,
    StreamPool,
    load,
)


def frames(*values: float) -> Any:
    return np.stack([frame(value) for value in values])


@pytest.fixture(params=["main thread", "another"])
def call(request: pytest.FixtureRequest) -> Any:
    """Calls a function in the main thread, where rows go into the line, or in another, which runs the step itself."""
    return (
        (lambda function: function()) if request.param == "main thread" else lambda function: in_threads([function])[0]
    )


def test_rows_in_any_order_give_what_single_pushes_give(make_pool: MakePool, call: Any) -> None:
    pool, _ = make_pool()
    streams, expected = [pool.open() for _ in range(5)], [lone() for _ in range(5)]
    chance = np.random.default_rng(0)
    for turn in range(12):
        wait_until(lambda: not pool._running.worker.turn.is_taken, "the pool's thread sleeps")
        order = chance.permutation(5)[: chance.integers(1, 6)]
        result = call(lambda: pool.push_many([streams[row] for row in order], frames(*(order + turn))))  # noqa: B023
        assert result
        assert result.ran.tolist() == list(range(len(order)))
        for row, y in zip(order, result.outputs, strict=True):
            assert np.array_equal(y, expected[row].push(frame(row + turn)))
    assert all(same_state(stream.state, one.state) for stream, one in zip(streams, expected, strict=True))
    assert pool.metrics().queue_depth == 0


def test_bad_rows_are_refused_one_by_one_and_the_others_run(make_pool: MakePool, call: Any) -> None:
    pool, _ = make_pool()
    other, _ = make_pool()
    good, closed, bad, last = (pool.open(str(index)) for index in range(4))
    closed.close()
    x = frames(1, 2, 3, 4, 5, 6)
    x[2, 1] = np.nan
    streams: list[Any] = [good, closed, bad, other.open("far"), None, last]
    result = call(lambda: pool.push_many(streams, x))
    assert not result
    assert {row: type(error) for row, error in result.errors.items()} == {
        1: StreamClosedError,
        2: InputError,
        3: InputError,
        4: InputError,
    }
    assert "NaN or infinity" in str(result.errors[2])
    assert "expected a stream of this pool" in str(result.errors[3])
    assert result.ran.tolist() == [0, 5]
    assert np.array_equal(result.values, [lone().push(frame(1)), lone().push(frame(6))])
    with pytest.raises(StreamClosedError):
        _ = result.outputs
    assert same_state(bad.state, lone().state)


def test_a_stream_that_is_given_twice_is_pushed_twice_in_order(make_pool: MakePool, call: Any) -> None:
    pool, _ = make_pool()
    stream, other, expected = pool.open(), pool.open(), lone()
    y = call(lambda: pool.push_many([stream, other, stream], frames(1, 5, 2))).outputs
    assert np.array_equal(y[[0, 2]], [expected.push(frame(1)), expected.push(frame(2))])
    assert np.array_equal(y[1], lone().push(frame(5)))


def test_earlier_pushes_of_a_stream_run_before(make_pool: MakePool, call: Any) -> None:
    pool, backend = make_pool()
    streams, expected = [pool.open() for _ in range(2)], [lone() for _ in range(2)]
    backend.hold()
    first = streams[0].submit(frame(1))
    backend.wait_until_held()
    second = streams[1].submit(frame(2))
    backend.let_go()
    y = call(lambda: pool.push_many(streams, frames(3, 4))).outputs
    for push, one, value in ((first, expected[0], 1), (second, expected[1], 2)):
        assert np.array_equal(push.result(), one.push(frame(value)))
    assert np.array_equal(y, [expected[0].push(frame(3)), expected[1].push(frame(4))])


def test_more_rows_than_a_step_holds_or_the_queue_takes(make_pool: MakePool, call: Any) -> None:
    pool, backend = make_pool(max_batch=2, max_queue=3)
    streams = [pool.open() for _ in range(3)]
    assert call(lambda: pool.push_many(streams, frames(1, 2, 3)))
    assert max(run.shape[1] for run in backend.frames) <= 2
    backend.hold()
    streams[0].submit(frame(1))
    backend.wait_until_held()
    streams[0].submit(frame(1))
    late = call(lambda: pool.push_many(streams[1:], frames(4, 5), timeout_s=0.05))
    backend.let_go()
    assert [type(late.errors[row]) for row in (0, 1)] == [DeadlineExceeded, PoolOverloaded]
    assert late.ran.tolist() == []


def test_a_failed_step_is_the_error_of_each_of_its_rows(make_pool: MakePool, call: Any) -> None:
    pool, backend = make_pool(adaptive=False, max_wait_us=0)
    streams = [pool.open() for _ in range(3)]
    backend.failures.extend([ValueError("no")] * 3)
    result = call(lambda: pool.push_many(streams, frames(1, 2, 3)))
    assert {type(error) for error in result.errors.values()} <= {BackendError}
    assert result.errors
    assert pool.metrics().queue_depth == 0


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.ones((2, 3)), "float64"),
        (np.ones((3, 3), np.float32), r"expected float32 \(2, 3\), a frame for each stream"),
        (np.ones((2, 4), np.float32), r"expected float32 \(2, 3\)"),
        (np.ones((2, 2, 3), np.float32), r"expected float32 \(2, 3\)"),
        ([1, 2], "give a NumPy array"),
        ({"y": np.ones((2, 3), np.float32)}, "x"),
    ],
)
def test_an_x_that_is_wrong_as_a_whole_is_refused_at_once(make_pool: MakePool, x: Any, match: str) -> None:
    pool, backend = make_pool()
    with pytest.raises(InputError, match=match):
        pool.push_many([pool.open(), pool.open()], x)
    with pytest.raises(InputError, match="got no streams"):
        pool.push_many([], np.ones((0, 3), np.float32))
    assert not backend.frames


@pytest.mark.parametrize("name", ["layer", "cell", "scorer", "keywords"])
def test_pushes_of_all_kinds_mix_and_equal_lone_streams(name: str, tmp_path: Path) -> None:
    kind, path = KINDS[name], tmp_path / "model.onnx"
    torch.manual_seed(7)
    examples = {} if kind.example is None else {"example_inputs": kind.example}
    rnnx.export(kind.make().eval(), path, kind.options, **examples)
    with load(path, "ort-cpu") as alone, StreamPool(load(path, "ort-cpu"), PoolOptions(max_wait_us=0)) as pool:
        pairs = [(pool.open(), alone.stream()) for _ in range(6)]

        def push_all() -> float:
            chance, largest = np.random.default_rng(5), 0.0
            for turn in range(60):
                order = [int(row) for row in chance.permutation(6)[: chance.integers(1, 7)]]
                xs = [kind.pushes(row, 1, 10 * turn + row) for row in order]
                if turn % 3 == 2:
                    waiting = [pairs[row][0].submit(x) for row, x in zip(order, xs, strict=True)]
                    found = [push.result() for push in waiting]
                else:
                    is_named = isinstance(xs[0], dict)
                    x = {key: np.stack([own[key] for own in xs]) for key in xs[0]} if is_named else np.stack(xs)
                    outputs = pool.push_many([pairs[row][0] for row in order], x).outputs
                    found = [{key: value[row] for key, value in by_name(outputs).items()} for row in range(len(order))]
                for row, x, y in zip(order, xs, found, strict=True):
                    for key, value in by_name(pairs[row][1].push(x)).items():
                        largest = max(largest, float(np.abs(by_name(y)[key].astype(float) - value).max()))
                if turn % 20 == 19:
                    pairs[0][0].restore(pairs[0][0].snapshot())
            return largest

        assert in_threads([push_all])[0] <= 2e-6
