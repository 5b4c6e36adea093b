"""Many streams on one model: continuous batching at the cell.

Streams join and leave between any two steps, each step runs whatever streams have a frame ready, and the states stay in
slots that are taken once. Cellular batching: Gao, Yu, Wu, Li, "Low latency RNN inference with cellular batching",
EuroSys 2018, https://doi.org/10.1145/3190508.3190541
"""

import os
import time
from collections.abc import Callable
from itertools import count
from math import isfinite
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import ForkedError, InputError, PoolClosedError, PoolOverloaded, RnnxError, StepTimeout
from rnnx_runtime.pool.batched_model import BatchedModel
from rnnx_runtime.pool.housekeeper import Housekeeper
from rnnx_runtime.pool.inbox import Inbox
from rnnx_runtime.pool.metrics import Counters, PoolMetrics
from rnnx_runtime.pool.options import PoolOptions
from rnnx_runtime.pool.refusals import closed_pool, closed_stream
from rnnx_runtime.pool.requests import Call, Push, Seat
from rnnx_runtime.pool.slots import Slots
from rnnx_runtime.pool.streams import PoolStream
from rnnx_runtime.pool.worker import Worker
from rnnx_runtime.session import Session
from rnnx_runtime.snapshot import snapshot_from_state, state_from_snapshot

Array = NDArray[Any]


class StreamPool:
    """Runs the streams of many threads and event loops as batched steps of one session, which it owns from then on.

    No stream starves: of S streams with work, each takes part in every n-th step at least, n the larger of 2 and
    ⌈S / max_batch⌉, and a step holds at most `max_frames` frames of each. A push is all or nothing. Every time is taken
    from a monotonic clock.

    Raises:
        InputError: the model has no single next step (bidirectional, unrolled) or no state inputs.
    """

    def __init__(
        self, session: Session, options: PoolOptions | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.options = options = options or PoolOptions()
        self._clock = clock
        self._pid = os.getpid()
        model = BatchedModel(session)
        self._inbox = Inbox(options.max_queue, plenty=2 * options.max_batch)
        self._slots = Slots(session.spec, options.max_streams)
        self._seats: set[Seat] = set()
        self._counters = Counters()
        self._names = count(1)
        self._opened_at = clock()
        self._worker = self._new_worker(model)
        self._housekeeper = Housekeeper(lambda: self._worker.abandon_hanging_step(), options.step_timeout_s)
        self._is_closing = self._is_closed = False
        self._worker.start()
        self._housekeeper.start()

    @property
    def spec(self) -> Contract:
        """The contract of the model that runs now."""
        return self._worker.model.session.spec

    def open(self, name: str | None = None, *, snapshot: bytes | None = None, any_weights: bool = False) -> PoolStream:
        """Open a stream: `with pool.open() as stream`, or `async with pool.open() as stream`.

        Args:
            name: what errors, logs and `on_evict` call it; a number when left out.
            snapshot: what `snapshot()` of a stream gave, here or elsewhere, to go on from.
            any_weights: take a snapshot of a model with other weights, such as an earlier version.

        Raises:
            PoolOverloaded: `max_streams` are open.
            PoolClosedError: the pool is closed.
            SnapshotError: the snapshot is damaged or of another model.
        """
        start = None if snapshot is None else state_from_snapshot(snapshot, self.spec, any_weights=any_weights)
        self._check_process()
        with self._inbox.lock:
            if isinstance(self._inbox.refusal, PoolClosedError):
                raise closed_pool()
            if not self._slots.free:
                raise self._full()
            seat = Seat(name or str(next(self._names)), self._slots.free.popleft(), self._clock())
            self._seats.add(seat)
        stream = PoolStream(self, seat)
        if start is not None:
            self.post(Call(seat, self._inbox.lock, lambda: self._slots.write(seat.slot, *start), is_certain=True))
        return stream

    def swap(self, session: Session) -> None:
        """Go on with another session from the next step on, with all states kept; the old session is closed.

        A new version of the model, or the same one on another backend. Where a step hangs, the new session takes over
        at once and the hanging one is closed when its step returns.

        Raises:
            ContractError: another cell or other sizes; nothing has changed, and the session is still the caller's.
            PoolClosedError: the pool is closed.
        """
        model = BatchedModel(session)
        self._worker.model.refuse_unlike(model)
        self._check_process()
        if self._worker.is_stalled and self._replace_worker(model):
            return
        call = Call(None, self._inbox.lock, lambda: self._worker.use(model))
        self.ask(call)
        old: BatchedModel = call.outcome()
        if old.session is not session:
            old.session.close()

    def _replace_worker(self, model: BatchedModel) -> bool:
        with self._inbox.lock:
            old = self._worker
            if not (old.is_stalled and isinstance(self._inbox.refusal, StepTimeout)):
                return False
            old.retire()
            self._inbox.refusal = None
            self._counters.swaps += 1
            self._worker = self._new_worker(model)
        self._worker.start()
        return True

    def _new_worker(self, model: BatchedModel) -> Worker:
        return Worker(
            model, self._inbox, self._slots, self._seats, self._counters, self.options, self._clock, self._hand_over
        )

    def _hand_over(self, name: str, h: Array, c: Array | None) -> None:
        """Give an evicted stream's snapshot to `on_evict`, away from the thread that runs the steps."""
        on_evict, spec = self.options.on_evict, self.spec
        if on_evict is not None:
            self._housekeeper.call_soon(lambda: on_evict(name, snapshot_from_state(h, c, spec)))

    def metrics(self) -> PoolMetrics:
        """The counts and histograms so far."""
        return self._counters.snapshot(
            streams=len(self._seats),
            capacity=self.options.max_streams,
            queue_depth=self._inbox.pushes,
            overloaded=self._inbox.refused,
        )

    def describe(self) -> dict[str, Any]:
        """What a health endpoint shows; plain data. `status` is serving, stalled, draining, closed or failed."""
        spec, metrics = self.spec, self.metrics()
        session = self._worker.model.session
        return {
            "status": self._status(),
            "model": {
                "cell": spec.cell,
                "form": spec.form,
                "input_size": spec.input_size,
                "hidden_size": spec.hidden_size,
                "layers": spec.layers,
                "source": spec.source.file,
                "weights_sha256": spec.source.weights_sha256,
            },
            **session.describe(),
            "streams": metrics.streams,
            "capacity": metrics.capacity,
            "queue_depth": metrics.queue_depth,
            "max_queue": self.options.max_queue,
            "pushes": metrics.pushes,
            "rejections": metrics.rejections,
            "mean_batch": round(metrics.batch_size.mean, 2),
            "p50_latency_s": _finite(metrics.latency_s.quantile(0.5)),
            "p99_latency_s": _finite(metrics.latency_s.quantile(0.99)),
            "uptime_s": round(self._clock() - self._opened_at, 3),
        }

    def _status(self) -> str:
        if self._is_closed:
            return "closed"
        if self._worker.is_stalled:
            return "stalled"
        refusal = self._inbox.refusal
        if refusal is None:
            return "serving"
        return "draining" if isinstance(refusal, PoolClosedError) else "failed"

    def close(self, *, drain: bool = True) -> None:
        """Stop taking pushes, run those that wait (or fail them, without `drain`), and close the session.

        A hanging step is not waited for: its session closes when it returns. Closing twice is harmless.
        """
        if os.getpid() != self._pid:
            return
        with self._inbox.lock:
            already, self._is_closing = self._is_closing, True
            self._inbox.refusal = closed_pool()
        if not drain:
            self._worker.fail_waiting(closed_pool())
        if already:
            self._worker.join(self.options.step_timeout_s)
            return
        self._inbox.put_call(Call(None, self._inbox.lock, lambda: self._worker.stop(), is_certain=True))
        self._end()
        self._is_closed = True

    def _end(self) -> None:
        worker = self._worker
        while not worker.join(0.05):
            if worker.is_stalled:
                with self._inbox.lock:
                    worker.retire()
                break
        else:
            worker.model.session.close()
        self._housekeeper.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(drain=kind is None)

    def __repr__(self) -> str:
        return f"<StreamPool: {self._status()}, {len(self._seats)} of {self.options.max_streams} streams>"

    # For the streams

    def refuse_push(self) -> None:
        """Refuse a push that there is no room for, before anything is made of it; raises as `submit`."""
        self._check_process()
        self._inbox.refuse_if_full(self._clock())

    def submit(self, seat: Seat, x: Array, timeout_s: float | None, future: Any = None, tag: Any = None) -> Push:
        """Queue a push of checked frames, which must not change any more."""
        self._check_process()
        if seat.is_leaving or seat.is_closed:
            raise closed_stream(seat)
        push = Push(seat, self._inbox.lock, x, future)
        push.tag = tag
        push.frames = len(x) if x.ndim == 2 else 0
        push.queued_at = seat.last_used = now = self._clock()
        if timeout_s is not None:
            _check_timeout(timeout_s)
            push.timeout_s = timeout_s
            push.deadline = now + timeout_s
            push.clock = self._clock
        self._inbox.put_push(push)
        return push

    def post(self, call: Call) -> None:
        """Queue a call."""
        self._check_process()
        seat = call.seat
        if seat is not None and not call.is_certain and (seat.is_leaving or seat.is_closed):
            raise closed_stream(seat)
        self._inbox.put_call(call)

    def ask(self, call: Call) -> Any:
        """Queue a call and wait for what it gives."""
        self.post(call)
        call.wait()
        return call.outcome()

    def close_seat(self, seat: Seat) -> None:
        """Free a stream's slot once its pushes are done; a forked child leaves that to the pool's process."""
        if os.getpid() != self._pid:
            return
        with self._inbox.lock:
            if seat.is_leaving:
                return
            seat.is_leaving = True
        self.post(Call(seat, self._inbox.lock, lambda: self._leave(seat), is_certain=True))

    def _leave(self, seat: Seat) -> None:
        with self._inbox.lock:
            if seat.is_closed:
                return
            seat.is_closed = True
            self._seats.discard(seat)
        self._slots.release(seat.slot)

    @property
    def inbox(self) -> Inbox:
        """Where the streams' requests go in."""
        return self._inbox

    @property
    def lock(self) -> Any:
        """The pool's lock, under which requests change."""
        return self._inbox.lock

    @property
    def slots(self) -> Slots:
        """The states; for calls within the pool's thread alone."""
        return self._slots

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedError(
                "pool",
                got=f"a call in process {os.getpid()}, forked after the pool was made in {self._pid}",
                expected="the process that made the pool",
                remedy="make a pool in each process, after the fork",
            )

    def _full(self) -> RnnxError:
        limit = self.options.max_streams
        return PoolOverloaded(
            "pool",
            got=f"{limit} streams open",
            expected=f"fewer than {limit} (PoolOptions.max_streams)",
            remedy="close streams, evict idle ones with PoolOptions.idle_s, or run another pool",
        )


def _check_timeout(timeout_s: object) -> None:
    if not (isinstance(timeout_s, int | float) and isfinite(timeout_s)):
        raise InputError(
            "timeout_s",
            got=repr(timeout_s),
            expected="a number of seconds, or None",
            remedy="leave it out to wait without end",
        )


def _finite(value: float) -> float | None:
    """None for infinity, which JSON has not: a latency above the last bound of its histogram."""
    return value if isfinite(value) else None
