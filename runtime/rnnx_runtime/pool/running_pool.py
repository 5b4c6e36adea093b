"""A pool at work: its threads and what they share.

It lives until its threads end; the `StreamPool` in front of it, as long as somebody holds it or one of its streams.
"""

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from os import getpid
from threading import get_ident, main_thread
from typing import Any

from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import ForkedError, PoolClosedError, RnnxError, StepTimeout
from rnnx_runtime.pool.batched_model import BatchedModel
from rnnx_runtime.pool.housekeeper import Housekeeper
from rnnx_runtime.pool.inbox import Inbox
from rnnx_runtime.pool.metrics import Counters
from rnnx_runtime.pool.options import PoolOptions
from rnnx_runtime.pool.refusals import closed_pool, closed_stream
from rnnx_runtime.pool.requests import DROPPED, Call, Seat
from rnnx_runtime.pool.slots import Slots
from rnnx_runtime.pool.worker import Worker
from rnnx_runtime.session import Session
from rnnx_runtime.snapshot import snapshot_from_state
from rnnx_runtime.threads.at_exit import end_at_exit
from rnnx_runtime.threads.latch import new_bell, ring

_LOOK_S = 0.05
"""How often a closer looks whether the step that it waits for hangs."""


class RunningPool:
    """The threads of a pool on a session, which it owns; errors as of `StreamPool`."""

    def __init__(self, session: Session, options: PoolOptions, clock: Callable[[], float]) -> None:
        self.options = options
        self.clock = clock
        self.pid = getpid()
        self._last_caller: int | None = None
        model = BatchedModel(session)
        self.inbox = Inbox(options.max_queue, plenty=2 * options.max_batch)
        self.slots = Slots(model.states, options.max_streams)
        self.seats: set[Seat] = set()
        self.counters = Counters()
        self.is_closed = False
        self._replaced: deque[Session] = deque()
        """Sessions that gave way to others and are not closed yet."""
        self.housekeeper = Housekeeper(self._watch, options.step_timeout_s)
        self.worker = self._new_worker(model, self.inbox.bell)
        session.claim(model)
        self.worker.is_in_charge = True
        self.worker.start()
        self.housekeeper.start()
        end_at_exit(self)

    @property
    def is_ending(self) -> bool:
        """Whether the pool takes nothing more because it was closed."""
        return isinstance(self.inbox.refusal, PoolClosedError)

    @property
    def is_left_open(self) -> bool:
        """Whether the process that made the pool has not closed it."""
        return not self.is_ending and getpid() == self.pid

    def _new_worker(self, model: BatchedModel, bell: Any) -> Worker:
        on_evict = None if self.options.on_evict is None else partial(self._hand_over, self.options.on_evict)
        options, clock = self.options, self.clock
        return Worker(model, self.inbox, self.slots, self.seats, self.counters, options, clock, on_evict, bell)

    def _watch(self) -> None:
        self.worker.abandon_hanging_step()

    def _hand_over(
        self, on_evict: Callable[[str, bytes], None], name: str, rows: tuple[Array, ...], spec: Contract
    ) -> None:
        """Give an evicted stream's snapshot to `on_evict`, away from the thread that runs the steps."""
        self.housekeeper.call_soon(lambda: on_evict(name, snapshot_from_state(rows, spec)))

    # Requests

    def leader(self) -> Worker | None:
        """The worker, for a caller who may run its steps in his own thread; None for one who may not.

        Not in the main thread, where a signal's handler could interrupt the steps and then wait for one; nor in the
        housekeeper's, which watches them; nor while anybody else is at work. Nor where another thread pushed last: one
        row after the other takes longer than the batches that the pool's thread makes of several callers' rows.
        """
        own = get_ident()
        was_last, self._last_caller = self._last_caller in (own, None), own
        if not was_last or own == main_thread().ident or self.housekeeper.is_this_thread:
            return None
        worker = self.worker
        return worker if worker.may_lead() else None

    def check_process(self) -> None:
        """Refuse a forked child, which has neither the pool's threads nor perhaps its lock ever again.

        Raises:
            ForkedError: this is another process than the pool was made in.
        """
        if getpid() != self.pid:
            raise ForkedError(
                "pool",
                got=f"a call in process {getpid()}, forked after the pool was made in {self.pid}",
                expected="the process that made the pool",
                remedy="make a pool in each process, after the fork",
            )

    def post(self, call: Call) -> None:
        """Queue a call."""
        self.check_process()
        seat = call.seat
        if seat is not None and not call.is_certain and (seat.is_leaving or seat.is_closed):
            raise closed_stream(seat)
        self.inbox.put_call(call)

    def wait(self, call: Call) -> None:
        """Wait for a call; the housekeeper, in an `on_evict`, keeps watching the steps meanwhile."""
        if not self.housekeeper.is_this_thread:
            call.wait()
            return
        while not call.wait(self.housekeeper.period_s):
            self._watch()

    def take_seat(self, seat: Seat) -> bool:
        """Give a seat a slot; False where none is free."""
        free, seats = self.slots.free, self.seats
        with self.inbox.lock:  # without a call within, as `Inbox` says
            is_there = not not free  # noqa: SIM208 - bool() is a call
            if is_there:
                seat.slot = free[0]
                del free[0]
                seats |= {seat}
        return is_there

    def close_seat(self, seat: Seat) -> None:
        """Free a stream's slot once its pushes are done; a forked child leaves that to the pool's process."""
        if getpid() != self.pid or seat.is_leaving:
            return
        self.post(Call(seat, self.inbox.lock, partial(self._leave, seat), is_certain=True))
        seat.is_leaving = True
        self.inbox.epoch = object()

    def _leave(self, seat: Seat) -> None:
        with self.inbox.lock:
            if seat.is_closed:
                return
            seat.is_closed = True
            self.seats.discard(seat)
        self.inbox.epoch = object()
        self.slots.release(seat.slot)

    # Models

    def swap(self, model: BatchedModel) -> None:
        """Go on with another model, whose session is the pool's from then on."""
        model.session.claim(model)
        if not self._replace_worker(model):
            self._use(model)
        self._close_replaced()

    def _use(self, model: BatchedModel) -> None:
        """Let the worker go on with a model between two steps, or leave its session to the caller."""
        call = Call(None, self.inbox.lock, lambda: self._replaced.append(self.worker.use(model).session))
        try:
            self.post(call)
            self.wait(call)
            call.outcome()
        except BaseException:
            call.drop(closed_pool())
            if call.phase == DROPPED or (call.is_settled and self.worker.model is not model):
                model.session.disclaim(model)
            raise

    def _replace_worker(self, model: BatchedModel) -> bool:
        """Let a worker of its own take over from one whose step hangs; False where none does."""
        old, refusal = self.worker, self.inbox.refusal
        if not (old.is_stalled and isinstance(refusal, StepTimeout)):
            return False
        bell = new_bell()
        new = self._new_worker(model, bell)
        new.start()  # before it is in charge: a signal handler may wait for what it runs from then on
        try:
            with self.inbox.lock:  # without a call within, as `Inbox` says
                hangs = old.is_stalled and self.inbox.refusal is refusal and self.worker is old
                if hangs:
                    old.is_retired = True
                    # A caller may hang in the old one's name, whose own thread then sleeps: the bell is another's now.
                    bell, self.inbox.bell = self.inbox.bell, bell
                    self.inbox.is_attended = False
                    self.inbox.refusal = None
                    self.counters.swaps += 1
                    self.worker = new
                    new.is_in_charge = True
        finally:
            if self.worker is not new:
                new.is_unwanted = True
        if hangs:
            ring(bell)
        return hangs

    def _close_replaced(self) -> None:
        while self._replaced:
            try:
                session = self._replaced.popleft()
            except IndexError:  # another thread had it first
                return
            session.close()

    # The end

    def abandon(self) -> None:
        """Have the pool close by itself, once what waits has run; may be called anywhere, for it takes no lock."""
        self.housekeeper.call_soon(self.close)

    def close(self, *, drain: bool = True) -> None:
        """As `StreamPool.close`; one that was interrupted can be called again."""
        if getpid() != self.pid:
            return
        self._stop(drain)
        if self._wait_for_worker(None):
            self.worker.model.session.close()
        self._close_replaced()
        self.housekeeper.close()
        self.is_closed = True

    def end(self, timeout_s: float) -> None:
        """Fail what waits and let the threads end, for the interpreter does."""
        if getpid() != self.pid or self.is_closed:
            return
        ends = time.monotonic() + timeout_s
        self._stop(drain=False)
        self._wait_for_worker(ends)
        self.housekeeper.close(max(ends - time.monotonic(), 0.0))
        self.is_closed = True

    def _stop(self, drain: bool) -> None:
        refusal: RnnxError = closed_pool()
        with self.inbox.lock:  # without a call within, as `Inbox` says
            self.inbox.refusal = refusal
        if not drain:
            self.worker.fail_waiting(refusal)
        self.inbox.put_call(Call(None, self.inbox.lock, lambda: self.worker.stop(), is_certain=True))

    def _wait_for_worker(self, ends: float | None) -> bool:
        """Wait for the thread; False where its step hangs, or, given an end, that has come before."""
        while True:
            worker = self.worker
            left = _LOOK_S if ends is None else min(_LOOK_S, ends - time.monotonic())
            if worker.join(left):
                return True
            if left <= 0 or (worker is self.worker and worker.leave_if_stalled()):
                return False
            if self.housekeeper.is_this_thread:
                self._watch()
