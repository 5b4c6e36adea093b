"""One pool under signals, interrupts and exits: `python lifetime_trial.py SCENARIO SEED MODEL`.

It works on a pool in the way that the scenario says and ends; `pool_lifetimes.py` looks at the exit code. Two clients
push on daemon threads all the while. A seed decides when what happens happens.
"""

import asyncio
import atexit
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

import rnnx_runtime
from rnnx_runtime import PoolOptions, RnnxError, StreamPool

EXIT_CODE = 3


class Trial:
    """A pool, its clients, and the chance of the seed."""

    def __init__(self, seed: int, model: str) -> None:
        self.chance = random.Random(seed)
        self.model = model
        self.pool = StreamPool(rnnx_runtime.load(model), PoolOptions(max_streams=64, step_timeout_s=2.0))
        self.frame = np.zeros(self.pool.spec.input_size, np.float32)
        self.stream = self.pool.open()

    def load(self) -> rnnx_runtime.Session:
        """One more session."""
        session = rnnx_runtime.load(self.model)
        assert isinstance(session, rnnx_runtime.Session)
        return session

    def start_clients(self) -> None:
        """Let two threads push until the pool is gone."""
        for _ in range(2):
            threading.Thread(target=self._push_on, args=(self.pool.open(),), daemon=True).start()

    def _push_on(self, stream: Any) -> None:
        with suppress(RnnxError):
            while True:
                pushes = [stream.submit(self.frame) for _ in range(8)]
                for push in pushes:
                    push.result()

    def on_alarm(self, handler: Callable[[], object], again_s: float = 0.0, most: int = 40) -> None:
        """Call a handler soon, wherever the main thread is then, and again from then on if asked, `most` times."""
        left = most

        def handle(*_: object) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                signal.setitimer(signal.ITIMER_REAL, 0)
            handler()

        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, self.chance.uniform(0.001, 0.1), again_s)

    def work(self, seconds: float) -> None:
        """Push, open, snapshot and look, until the time is up or the pool is closed."""
        ends = time.monotonic() + seconds
        with suppress(RnnxError):
            while time.monotonic() < ends:
                with self.pool.open() as stream:
                    pushes = [stream.submit(self.frame) for _ in range(self.chance.randrange(1, 20))]
                    pushes[-1].result()
                    stream.snapshot()
                    pushes[0].cancel()
                self.stream.push(self.frame)
                self.pool.metrics()
                self.pool.describe()

    def use(self) -> None:
        """Everything that a signal handler may do with the pool."""
        with suppress(RnnxError), self.pool.open() as stream:
            stream.submit(self.frame)
            stream.push(self.frame)
            stream.snapshot()
            self.pool.describe()


# What ends by itself


def work_and_end(trial: Trial) -> None:
    trial.work(trial.chance.uniform(0, 0.2))


def end_with_work_waiting(trial: Trial) -> None:
    with suppress(RnnxError):
        for _ in range(3000):
            trial.stream.submit(trial.frame)


def exit_with_a_code(trial: Trial) -> None:
    trial.work(trial.chance.uniform(0, 0.1))
    sys.exit(EXIT_CODE)


def an_uncaught_error(trial: Trial) -> None:
    trial.work(trial.chance.uniform(0, 0.1))
    raise ValueError("of the trial")


def exit_at_once(trial: Trial) -> None:
    trial.work(trial.chance.uniform(0, 0.1))
    os._exit(EXIT_CODE)


def exit_while_a_thread_closes(trial: Trial) -> None:
    threading.Thread(target=trial.pool.close, daemon=True).start()
    trial.work(trial.chance.uniform(0, 0.01))
    sys.exit(EXIT_CODE)


def exit_while_a_thread_swaps(trial: Trial) -> None:
    def swap_on() -> None:
        with suppress(RnnxError):
            while True:
                trial.pool.swap(trial.load())

    threading.Thread(target=swap_on, daemon=True).start()
    trial.work(trial.chance.uniform(0, 0.2))
    sys.exit(EXIT_CODE)


def exit_while_a_session_runs(trial: Trial) -> None:
    session = trial.load()

    def step_on() -> None:
        stream = session.stream()
        with suppress(RnnxError):
            while True:
                stream.push(trial.frame)

    threading.Thread(target=step_on, daemon=True).start()
    time.sleep(trial.chance.uniform(0, 0.1))
    sys.exit(EXIT_CODE)


def exit_from_an_event_loop(trial: Trial) -> None:
    async def talk(stream: Any) -> None:
        async with stream as conversation:
            while True:
                await conversation.push(trial.frame)

    async def main() -> None:
        talks = [asyncio.ensure_future(talk(trial.pool.open())) for _ in range(8)]
        await asyncio.sleep(trial.chance.uniform(0, 0.1))
        talks[0].cancel()
        sys.exit(EXIT_CODE)

    asyncio.run(main())


def a_loop_that_is_closed_with_pushes_in_flight(trial: Trial) -> None:
    loop = asyncio.new_event_loop()

    async def leave() -> None:
        conversation = await trial.pool.open().__aenter__()
        tasks = [asyncio.ensure_future(conversation.push(trial.frame)) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()

    loop.run_until_complete(leave())
    loop.close()
    sys.exit(EXIT_CODE)


def exit_while_a_step_hangs(trial: Trial) -> None:
    hang(trial)
    sys.exit(EXIT_CODE)


def close_while_a_step_hangs(trial: Trial) -> None:
    hang(trial)
    trial.on_alarm(trial.pool.close)
    trial.pool.close()
    leave()


def hang(trial: Trial) -> None:
    """Let the next step never return."""
    backend: Any = trial.pool._running.worker.model.session._backend
    backend.run = lambda *_: time.sleep(1000)
    trial.stream.submit(trial.frame)
    time.sleep(0.05)


def leave() -> None:
    """Exit without a timer: the interpreter takes its handlers away at the end, and a signal then kills."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.exit(EXIT_CODE)


# Signals whose handlers use the pool


def close_in_a_handler(trial: Trial) -> None:
    trial.on_alarm(trial.pool.close)
    trial.work(10)
    assert trial.pool.describe()["status"] == "closed"
    sys.exit(EXIT_CODE)


def close_at_once_in_a_handler(trial: Trial) -> None:
    trial.on_alarm(lambda: trial.pool.close(drain=False))
    trial.work(10)
    assert trial.pool.describe()["status"] == "closed"
    sys.exit(EXIT_CODE)


def close_in_a_handler_of_a_close(trial: Trial) -> None:
    end_with_work_waiting(trial)
    trial.on_alarm(trial.pool.close)
    trial.pool.close()
    leave()


def use_in_a_handler(trial: Trial) -> None:
    trial.on_alarm(trial.use, again_s=0.003)
    trial.work(0.3)
    leave()


def use_in_a_handler_of_submits(trial: Trial) -> None:
    trial.on_alarm(trial.use, again_s=0.002)
    for _ in range(3000):
        with suppress(RnnxError):
            trial.stream.submit(trial.frame)
    leave()


def swap_in_a_handler(trial: Trial) -> None:
    trial.on_alarm(lambda: trial.pool.swap(trial.load()))
    trial.work(0.3)
    assert trial.pool.metrics().swaps == 1
    sys.exit(EXIT_CODE)


def exit_in_a_handler(trial: Trial) -> None:
    trial.on_alarm(lambda: sys.exit(EXIT_CODE))
    trial.work(10)


def close_and_exit_in_a_handler(trial: Trial) -> None:
    def stop() -> None:
        trial.pool.close()
        sys.exit(EXIT_CODE)

    trial.on_alarm(stop)
    trial.work(10)


def terminated(trial: Trial) -> None:
    trial.on_alarm(lambda: os.kill(os.getpid(), signal.SIGTERM))
    trial.work(10)


def interrupted(trial: Trial) -> None:
    trial.on_alarm(lambda: os.kill(os.getpid(), signal.SIGINT))
    trial.work(10)


def interrupted_in_a_block(trial: Trial) -> None:
    trial.on_alarm(lambda: os.kill(os.getpid(), signal.SIGINT))
    with trial.pool:
        trial.work(10)


def interrupted_again_and_again(trial: Trial) -> None:
    """As by one who keeps Ctrl-C pressed: each is caught, and at last the pool is closed."""
    trial.on_alarm(lambda: os.kill(os.getpid(), signal.SIGINT), again_s=0.01)
    for _ in range(20):
        with suppress(KeyboardInterrupt):
            trial.work(10)
    with suppress(KeyboardInterrupt):
        trial.pool.close()
    signal.setitimer(signal.ITIMER_REAL, 0)
    with suppress(KeyboardInterrupt):
        time.sleep(0.02)
    trial.pool.close()
    sys.exit(EXIT_CODE)


def closed_by_the_handler_of_a_loop(trial: Trial) -> None:
    async def main() -> None:
        loop, gone = asyncio.get_running_loop(), asyncio.Event()

        def stop() -> None:
            trial.pool.close()
            gone.set()

        loop.add_signal_handler(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, trial.chance.uniform(0.001, 0.1))
        async with trial.pool.open() as conversation:
            with suppress(RnnxError):
                while True:
                    await conversation.push(trial.frame)
        await gone.wait()

    asyncio.run(main())
    sys.exit(EXIT_CODE)


# Forks


def a_forked_child_exits(trial: Trial) -> None:
    """A child has none of the pool's threads, and must neither wait nor close.

    It ends with `os._exit` after Python's own end: ONNX Runtime's destructors hang in a forked child, without rnnx too.
    """
    trial.work(trial.chance.uniform(0, 0.05))
    child = os.fork()
    if child == 0:
        with suppress(RnnxError):
            trial.stream.push(trial.frame)
        trial.pool.close()
        atexit._run_exitfuncs()
        os._exit(EXIT_CODE)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == EXIT_CODE
    trial.stream.push(trial.frame)
    sys.exit(EXIT_CODE)


def workers_are_forked(trial: Trial) -> None:
    _run_workers(trial, "fork")


def workers_are_spawned(trial: Trial) -> None:
    _run_workers(trial, "spawn")


def _run_workers(trial: Trial, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    processes = [context.Process(target=_worker, args=(trial.model,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == EXIT_CODE
    trial.work(0.05)
    sys.exit(EXIT_CODE)


def _worker(model: str) -> None:
    trial = Trial(0, model)
    trial.work(0.05)
    sys.exit(EXIT_CODE)


# What nobody closes


def nobody_holds_the_pool(trial: Trial) -> None:
    warnings.simplefilter("ignore", ResourceWarning)
    for _ in range(3):
        pool = StreamPool(trial.load())
        pushes = [pool.open().submit(trial.frame) for _ in range(20)]
        del pool
        pushes[-1].result()
    sys.exit(EXIT_CODE)


def on_evict_closes_the_pool(trial: Trial) -> None:
    def close(name: str, snapshot: bytes) -> None:
        with suppress(RnnxError), pool.open(snapshot=snapshot) as again:
            again.submit(trial.frame)
            pool.swap(trial.load())
        pool.close()

    pool = StreamPool(trial.load(), PoolOptions(idle_s=0.02, on_evict=close))
    stream = pool.open()
    stream.push(trial.frame)
    while pool.describe()["status"] != "closed":
        time.sleep(0.001)
    sys.exit(EXIT_CODE)


WITHOUT_CLIENTS = {a_forked_child_exits, workers_are_forked, exit_while_a_step_hangs, close_while_a_step_hangs}
"""Threads beside a fork are another matter, and a hanging step leaves nothing to push."""

EXPECTED: dict[Callable[[Trial], None], int] = {
    work_and_end: 0,
    end_with_work_waiting: 0,
    exit_with_a_code: EXIT_CODE,
    an_uncaught_error: 1,
    exit_at_once: EXIT_CODE,
    exit_while_a_thread_closes: EXIT_CODE,
    exit_while_a_thread_swaps: EXIT_CODE,
    exit_while_a_session_runs: EXIT_CODE,
    exit_from_an_event_loop: EXIT_CODE,
    a_loop_that_is_closed_with_pushes_in_flight: EXIT_CODE,
    exit_while_a_step_hangs: EXIT_CODE,
    close_while_a_step_hangs: EXIT_CODE,
    close_in_a_handler: EXIT_CODE,
    close_at_once_in_a_handler: EXIT_CODE,
    close_in_a_handler_of_a_close: EXIT_CODE,
    use_in_a_handler: EXIT_CODE,
    use_in_a_handler_of_submits: EXIT_CODE,
    swap_in_a_handler: EXIT_CODE,
    exit_in_a_handler: EXIT_CODE,
    close_and_exit_in_a_handler: EXIT_CODE,
    terminated: -signal.SIGTERM,
    interrupted: -signal.SIGINT,
    interrupted_in_a_block: -signal.SIGINT,
    interrupted_again_and_again: EXIT_CODE,
    closed_by_the_handler_of_a_loop: EXIT_CODE,
    a_forked_child_exits: EXIT_CODE,
    workers_are_forked: EXIT_CODE,
    workers_are_spawned: EXIT_CODE,
    nobody_holds_the_pool: EXIT_CODE,
    on_evict_closes_the_pool: EXIT_CODE,
}
"""The exit code of each scenario."""


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    by_name = {scenario.__name__: scenario for scenario in EXPECTED}
    chosen, running = by_name[sys.argv[1]], Trial(int(sys.argv[2]), sys.argv[3])
    if chosen not in WITHOUT_CLIENTS:
        running.start_clients()
    chosen(running)
