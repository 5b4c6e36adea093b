"""Many streams on one model: continuous batching at the cell.

Streams join and leave between any two steps, each step runs whatever streams have a frame ready, and the states stay in
slots that are taken once. Cellular batching: Gao, Yu, Wu, Li, "Low latency RNN inference with cellular batching",
EuroSys 2018, https://doi.org/10.1145/3190508.3190541
"""

import time
import warnings
from collections.abc import Callable, Sequence
from itertools import count
from math import isfinite
from os import getpid
from types import TracebackType
from typing import Any, Self

from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.errors import InputError, PoolClosedError, PoolOverloaded, RnnxError
from rnnx_runtime.pool.batched_model import BatchedModel
from rnnx_runtime.pool.conversation import Conversation
from rnnx_runtime.pool.inbox import Inbox
from rnnx_runtime.pool.lease import Lease
from rnnx_runtime.pool.many import ManyOutputs
from rnnx_runtime.pool.metrics import PoolMetrics
from rnnx_runtime.pool.options import PoolOptions
from rnnx_runtime.pool.pushing_many import PushingMany
from rnnx_runtime.pool.refusals import closed_pool, closed_stream
from rnnx_runtime.pool.requests import Call, Given, Push, Seat, late_after
from rnnx_runtime.pool.row_groups import RowGroup, RowGroups
from rnnx_runtime.pool.running_pool import RunningPool
from rnnx_runtime.pool.slots import Slots
from rnnx_runtime.pool.streams import PoolStream
from rnnx_runtime.pool.worker import Worker
from rnnx_runtime.session import Session
from rnnx_runtime.snapshot import state_from_snapshot


class StreamPool:
    """Runs the streams of many threads and event loops as batched steps of one session, which it owns from then on.

    No stream starves: of S streams with work, each takes part in every n-th step at least, n the larger of 2 and
    ⌈S / max_batch⌉, and a step holds at most `max_frames` frames of each. A push is all or nothing. Every time is taken
    from a monotonic clock.

    Everything may be called in a signal handler, whatever it interrupted. A pool that nobody holds any more closes by
    itself, with a `ResourceWarning`, and one that is open when the interpreter ends is closed then.

    Raises:
        InputError: the model has no single next step (bidirectional, unrolled) or no state inputs, or another pool
            runs the session.
        SessionClosedError: the session is closed.
    """

    def __init__(
        self, session: Session, options: PoolOptions | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.options = options = options or PoolOptions()
        self._clock = clock
        self._names = count(1)
        self._opened_at = clock()
        self._running = running = RunningPool(session, options, clock)
        self._pid = running.pid
        self._groups = RowGroups(running.inbox)
        self._inbox, self._slots, self._seats, self._counters = (
            running.inbox,
            running.slots,
            running.seats,
            running.counters,
        )

    @property
    def spec(self) -> Contract:
        """The contract of the model that runs now."""
        return self._running.worker.model.session.spec

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
        self._running.check_process()
        if self._running.is_ending:
            raise closed_pool()
        seat = Seat(name or str(next(self._names)), None, self._clock())
        stream = PoolStream(self, Lease(self._running, seat))  # first: from the lease on no slot can be lost
        if not self._running.take_seat(seat):
            raise self._full()
        if start is not None:
            seat.is_over = self.model.is_over(start)
            self.post(Call(seat, self._inbox.lock, lambda: self._slots.write(seat.slot, *start), is_certain=True))
        return stream

    def push_many(self, streams: Sequence[Conversation], x: Any, *, timeout_s: float | None = None) -> ManyOutputs:
        """Push a frame of each of these streams, and wait: `y = pool.push_many(streams, x).outputs`.

        Where nobody is at work all run as one step in the caller's thread, with one gather and one scatter of states;
        else, in the main thread, with a deadline, and where there are more rows than `max_batch`, each row takes its
        place in the line as a push of its own would. A stream that is given twice is pushed twice, in order.

        Args:
            streams: of this pool, in any order.
            x: a frame for each of them, such as `(N, I)`, copied, or as many as the least push has, `(N, 4, I)`; of a
                model with several plain inputs a mapping.
            timeout_s: as of `PoolStream.push`, for each row.

        Returns:
            The outputs in order, such as `(N, P)`; and the error of each row that was refused, as its own push would
            have raised it. The other rows run all the same.

        Raises:
            InputError: no streams; or a wrong name, dtype or shape of x as a whole.
            ForkedError: another process than the one that made the pool.
        """
        self._running.check_process()
        many = PushingMany(self, streams, x, self._groups)
        leader = self._running.leader() if timeout_s is None and many.may_run_directly else None
        if leader is None:
            return many.wait(many.queue(timeout_s))
        try:
            result = many.run_directly(leader)
        finally:
            leader.stop_leading()
        return many.wait(many.queue(None)) if result is None else result

    def swap(self, session: Session) -> None:
        """Go on with another session from the next step on, with all states kept; the old session is closed.

        A new version of the model, or the same one on another backend. Where a step hangs, the new session takes over
        at once and the hanging one is closed when its step returns. The session is the pool's from then on, or, where
        this raises, still the caller's and nothing has changed.

        Raises:
            ContractError: another cell or other sizes.
            InputError: a pool runs the session, this one or another.
            SessionClosedError: the session is closed.
            PoolClosedError: the pool is closed.
        """
        model = BatchedModel(session)
        model.follow(self._running.worker.model)
        self._running.check_process()
        self._running.swap(model)

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
        session = self._running.worker.model.session
        return {
            "status": self._status(),
            "model": {**_sizes(spec), "source": spec.source.file, "weights_sha256": spec.source.weights_sha256},
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
        if self._running.is_closed:
            return "closed"
        if self._running.worker.is_stalled:
            return "stalled"
        refusal = self._inbox.refusal
        if refusal is None:
            return "serving"
        return "draining" if isinstance(refusal, PoolClosedError) else "failed"

    def close(self, *, drain: bool = True) -> None:
        """Stop taking pushes, run those that wait (or fail them, without `drain`), and close the session.

        A hanging step is not waited for: its session closes when it returns. Closing twice is harmless, and both wait;
        so is closing from `on_evict`, or again after an interrupt.
        """
        self._running.close(drain=drain)

    def __del__(self) -> None:
        running = self.__dict__.get("_running")  # not there where the session was refused
        if running is not None and running.is_left_open:
            text = f"unclosed {self!r}"
            running.abandon()
            warnings.warn(text, ResourceWarning, stacklevel=2, source=self)

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
        self._running.check_process()
        self._inbox.refuse_if_full(self._clock())

    def push(self, seat: Seat, given: Given, timeout_s: float | None) -> Any:
        """Queue a push and wait for its output; where nobody is at work, run its step in this thread.

        A push with a deadline waits: a caller who runs a step cannot leave it.
        """
        leader = self._running.leader() if timeout_s is None else None
        if leader is None:
            return self.submit(seat, given, timeout_s).result()
        try:
            output = None if given[1] else self._pushed_directly(leader, seat, given)
            if output is None:
                push = self.submit(seat, given, None)
                leader.lead(push)
        finally:
            leader.stop_leading()
        return push.result() if output is None else output

    def _pushed_directly(self, leader: Worker, seat: Seat, given: Given) -> Any:
        """The output of a frame that ran at once; None where it must go into the line."""
        epoch = self._inbox.epoch
        if getpid() != self._pid or seat.is_leaving or seat.is_closed or seat.is_over:
            return None
        inputs = {name: value[None] for name, value in zip(leader.model.input_names, given[0], strict=True)}
        outputs = leader.run_directly(RowGroup((seat,), epoch), inputs)
        if outputs is None:
            return None
        if given[2]:
            return {name: value[0, ...] for name, value in outputs.items()}
        (y,) = outputs.values()
        return y[0, ...]

    def submit(self, seat: Seat, given: Given, timeout_s: float | None, future: Any = None, tag: Any = None) -> Push:
        """Queue a push of checked frames, which must not change any more."""
        if getpid() != self._pid:  # as `check_process` looks, without a call for each push
            self._running.check_process()
        if seat.is_leaving or seat.is_closed:
            raise closed_stream(seat)
        inbox = self._inbox
        values, frames, is_by_name, last = given
        push = Push(seat, inbox.lock, values, future)
        push.tag = tag
        push.frames = frames
        push.last = last
        if is_by_name:
            push.names = self.model.output_names
        push.queued_at = seat.last_used = now = self._clock()
        if timeout_s is not None:
            _check_timeout(timeout_s)
            push.timeout_s = timeout_s
            push.deadline = now + timeout_s
            push.clock = self._clock
        inbox.put_push(push)
        return push

    def post(self, call: Call) -> None:
        """Queue a call."""
        self._running.post(call)

    def ask(self, call: Call, timeout_s: float | None = None) -> Any:
        """Queue a call and wait for what it gives; raises as `submit` and `Push.result` where it takes longer."""
        if timeout_s is not None:
            _check_timeout(timeout_s)
        self._running.post(call)
        if timeout_s is None or not (call.wait(timeout_s) or call.drop(late_after(timeout_s))):
            self._running.wait(call)
        return call.outcome()

    def close_seat(self, seat: Seat) -> None:
        """Free a stream's slot once its pushes are done; a forked child leaves that to the pool's process."""
        self._running.close_seat(seat)

    @property
    def inbox(self) -> Inbox:
        """Where the streams' requests go in."""
        return self._inbox

    @property
    def lock(self) -> Any:
        """The pool's lock, under which requests change."""
        return self._inbox.lock

    @property
    def model(self) -> BatchedModel:
        """The model that runs now."""
        return self._running.worker.model

    @property
    def slots(self) -> Slots:
        """The states; for calls within the pool's thread alone."""
        return self._slots

    def _full(self) -> RnnxError:
        limit = self.options.max_streams
        return PoolOverloaded(
            "pool",
            got=f"{limit} streams open",
            expected=f"fewer than {limit} (PoolOptions.max_streams)",
            remedy="close streams, evict idle ones with PoolOptions.idle_s, or run another pool",
        )


def _sizes(spec: Contract) -> dict[str, Any]:
    """What a health endpoint shows of a model: a layer's sizes, or a whole model's inputs and outputs."""
    bare = spec.bare
    if bare is None:
        return {"inputs": _listed(spec.plain_inputs), "outputs": _listed(spec.plain_outputs)}
    names = ("cell", "form", "input_size", "hidden_size", "layers")
    return {name: getattr(bare, name) for name in names}


def _listed(specs: Sequence[TensorSpec]) -> dict[str, str]:
    return {spec.name: f"{spec.dtype} {spec.shape}" for spec in specs}


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
