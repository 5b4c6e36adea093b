import threading

import numpy as np
import pytest
from tests.rnnx_runtime.pool.conftest import MakePool
from tests.rnnx_runtime.pool.fakes import Array, frame, in_threads, lone, wait_until

from rnnx_runtime import CompletionQueue, PushCancelled

LONG_S = 20.0


def test_one_thread_takes_the_pushes_of_many_streams_by_their_tags(make_pool: MakePool) -> None:
    pool, _ = make_pool()
    queue = CompletionQueue()
    for value, stream in enumerate([pool.open() for _ in range(6)]):
        stream.submit(frame(value), into=queue, tag=value)
    taken: dict[int, Array] = {}
    while len(taken) < 6:
        taken |= {push.tag: push.result() for push in queue.take(LONG_S)}
    assert all(np.array_equal(taken[value], lone().push(frame(value))) for value in range(6))
    assert queue.take(0) == []


def test_a_step_wakes_the_taker_once_for_all_its_pushes(make_pool: MakePool) -> None:
    pool, backend = make_pool(max_wait_us=0)
    queue, streams = CompletionQueue(), [pool.open() for _ in range(8)]
    backend.hold()
    streams[0].submit(frame(0), into=queue)
    backend.wait_until_held()
    for stream in streams[1:]:
        stream.submit(frame(1), into=queue)
    backend.let_one_go()
    backend.wait_until_held()  # the results of a step are given out when the next one runs
    assert len(queue.take(LONG_S)) == 1
    backend.let_go()
    assert len(queue.take(LONG_S)) == 7


def test_a_push_that_fails_or_is_cancelled_ends_there_too(make_pool: MakePool) -> None:
    pool, backend = make_pool(max_wait_us=0)
    queue, stream = CompletionQueue(), pool.open()
    backend.hold()
    backend.failures.append(RuntimeError("broken"))
    failing = stream.submit(frame(0), into=queue)
    backend.wait_until_held()
    cancelled = pool.open().submit(frame(1), into=queue)
    assert cancelled.cancel()
    assert queue.take(LONG_S) == [cancelled]
    with pytest.raises(PushCancelled):
        cancelled.result()
    backend.let_go()
    assert queue.take(LONG_S) == [failing]
    with pytest.raises(Exception, match="broken"):
        failing.result()


def test_pushes_of_a_closed_pool_do_not_stay_away(make_pool: MakePool) -> None:
    pool, backend = make_pool(max_wait_us=0)
    queue, stream = CompletionQueue(), pool.open()
    backend.hold()
    pushes = [stream.submit(frame(value), into=queue) for value in range(3)]
    backend.wait_until_held()
    closing = threading.Thread(target=pool.close, kwargs={"drain": False})
    closing.start()
    taken = queue.take(LONG_S)
    backend.let_go()
    closing.join()
    while len(taken) < 3:
        taken += queue.take(LONG_S)
    assert set(taken) == set(pushes)


def test_closing_a_queue_lets_every_taker_go_and_loses_nothing(make_pool: MakePool) -> None:
    pool, backend = make_pool(max_wait_us=0)
    queue = CompletionQueue()
    takers = [threading.Thread(target=queue.take) for _ in range(3)]
    for taker in takers:
        taker.start()
    backend.hold()
    push = pool.open().submit(frame(0), into=queue)
    backend.wait_until_held()
    queue.close()
    for taker in takers:
        taker.join(LONG_S)
        assert not taker.is_alive()
    assert queue.take() == []
    backend.let_go()
    wait_until(lambda: push.is_done, "the push is done")
    assert queue.take(LONG_S) == [push]


def test_each_push_is_taken_by_one_thread_of_several(make_pool: MakePool) -> None:
    pool, _ = make_pool()
    queue, taken = CompletionQueue(), list[int]()

    def take() -> None:
        while pushes := queue.take(LONG_S):
            taken.extend(push.tag for push in pushes)

    takers = threading.Thread(target=in_threads, args=([take] * 4,))
    takers.start()
    streams = [pool.open() for _ in range(4)]
    for tag in range(200):
        streams[tag % 4].submit(frame(tag), into=queue, tag=tag)
    wait_until(lambda: len(taken) == 200, "all are taken")
    queue.close()
    takers.join(LONG_S)
    assert sorted(taken) == list(range(200))
