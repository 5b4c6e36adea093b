"""Clients of a pool and of a lone session, as the pool's benchmarks run them."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

import rnnx
from rnnx_runtime import CompletionQueue, PoolStream, Push, Session, StreamPool

Array = NDArray[Any]

HIDDEN = 256


@dataclass(frozen=True, kw_only=True)
class Load:
    """A run of several clients: its pushes, its seconds, and the processor seconds of the clients' threads."""

    pushes: int
    seconds: float
    client_cpu_s: float = 0.0

    @property
    def push_us(self) -> float:
        """Wall time a push."""
        return 1e6 * self.seconds / self.pushes

    @property
    def client_cpu_us(self) -> float:
        """Processor time of the clients a push."""
        return 1e6 * self.client_cpu_s / self.pushes


def export_lstm(folder: Path, inputs: int) -> Path:
    """Write an `nn.LSTM` with random weights; its path."""
    path = folder / f"lstm-{inputs}.onnx"
    torch.manual_seed(0)
    rnnx.export(torch.nn.LSTM(inputs, HIDDEN), path)
    return path


def frames_of(streams: int, inputs: int) -> list[Array]:
    """A frame `(I,)` for each stream."""
    return list(np.random.default_rng(0).standard_normal((streams, inputs), np.float32))


def shares(count: int, clients: int) -> list[range]:
    """Which streams each client drives."""
    return [range(client, count, clients) for client in range(clients)]


def run_together(clients: Sequence[Callable[[], None]], pushes: int) -> Load:
    """Run each client in a thread of its own, all from one start to the end of the last; `pushes` is of all."""
    barrier, cpu = Barrier(len(clients) + 1), [0.0] * len(clients)

    def run(index: int) -> None:
        barrier.wait()
        clients[index]()
        cpu[index] = time.thread_time()

    threads = [Thread(target=run, args=(index,)) for index in range(len(clients))]
    for thread in threads:
        thread.start()
    start = time.perf_counter()
    barrier.wait()
    for thread in threads:
        thread.join()
    return Load(pushes=pushes, seconds=time.perf_counter() - start, client_cpu_s=sum(cpu))


class LoneSteps:
    """One `session.step` with B = 1 for each push; the states are kept by the client."""

    def __init__(self, session: Session, frames: Sequence[Array]) -> None:
        self._session = session
        self._frames = [frame[None] for frame in frames]
        self._states = [session.initial_state(1) for _ in frames]

    def client(self, share: Sequence[int], rounds: int) -> None:
        """Step each stream of a share in turn, so many times."""
        step, frames, states = self._session.step, self._frames, self._states
        for _ in range(rounds):
            for index in share:
                _, states[index] = step(frames[index], states[index])


class PooledPushes:
    """Streams of a pool, one frame a push."""

    def __init__(self, pool: StreamPool, frames: Sequence[Array]) -> None:
        self.pool = pool
        self._frames = list(frames)
        self._closing = ExitStack()
        self._streams: list[PoolStream] = [self._closing.enter_context(pool.open()) for _ in frames]

    def submits(self, into: CompletionQueue | None = None) -> list[Callable[..., Push]]:
        """A call for each stream that submits its frame, to end in a queue if one is given."""
        pairs = zip(self._streams, self._frames, strict=True)
        return [partial(stream.submit, frame, into=into) for stream, frame in pairs]

    def client(self, share: Sequence[int], rounds: int) -> None:
        """Keep a push of every stream of a share under way: take its result, and submit its next frame at once."""
        every = self.submits()
        submits = [every[index] for index in share]
        under_way = [submit() for submit in submits]
        for _ in range(rounds - 1):
            for place, submit in enumerate(submits):
                under_way[place].result()
                under_way[place] = submit()
        for push in under_way:
            push.result()

    def blocking_client(self, share: Sequence[int], rounds: int) -> None:
        """Push and wait, one stream after the other."""
        for _ in range(rounds):
            for index in share:
                self._streams[index].push(self._frames[index])

    def event_loop(self, rounds: int) -> None:
        """Push and wait in a task for each stream, in one event loop."""
        asyncio.run(self._tasks(rounds))

    async def _tasks(self, rounds: int) -> None:
        async with asyncio.TaskGroup() as group:
            for stream, frame in zip(self._streams, self._frames, strict=True):
                group.create_task(self._task(stream, frame, rounds))

    async def _task(self, stream: PoolStream, frame: Array, rounds: int) -> None:
        push = (await stream.__aenter__()).push  # without the exit, which would close the stream
        for _ in range(rounds):
            await push(frame)

    def close(self) -> None:
        """Close the streams."""
        self._closing.close()


class BareRuns:
    """`InferenceSession.run` with a batch that stands ready, `(1, B, I)` and states `(1, B, H)`."""

    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._inputs = self._session.get_inputs()[0].shape[-1]

    def call(self, batch: int) -> Callable[[], object]:
        """A call with so many rows."""
        x = np.random.default_rng(0).standard_normal((1, batch, self._inputs), np.float32)
        feeds = {"x": x} | {name: np.zeros((1, batch, HIDDEN), np.float32) for name in ("h0", "c0")}
        return lambda: self._session.run(None, feeds)

    def batches(self, batch: int, seconds: float) -> Callable[[], Load]:
        """A run of such calls for some time, a row of a batch counted as a push."""
        call = self.call(batch)
        call()

        def run() -> Load:
            rows, start = 0, time.perf_counter()
            while (now := time.perf_counter()) < start + seconds:
                call()
                rows += batch
            return Load(pushes=rows, seconds=now - start)

        return run
