"""The thread that runs a pool's steps."""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from threading import Thread
from typing import Any

from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import RnnxError, StepTimeout
from rnnx_runtime.pool.batch import Batch, alike, take_back
from rnnx_runtime.pool.batched_model import BatchedModel
from rnnx_runtime.pool.collector import Collector
from rnnx_runtime.pool.delivery import deliver
from rnnx_runtime.pool.direct_steps import DirectSteps
from rnnx_runtime.pool.inbox import Inbox
from rnnx_runtime.pool.metrics import Counters
from rnnx_runtime.pool.options import PoolOptions
from rnnx_runtime.pool.refusals import broken_step, closed_stream, dead_thread, hanging_step, rejection_reason
from rnnx_runtime.pool.requests import COMMITTED, DROPPED, WAITING, Call, Push, Request, Seat, own_copy
from rnnx_runtime.pool.row_groups import RowGroup
from rnnx_runtime.pool.schedule import Schedule
from rnnx_runtime.pool.slots import Slots
from rnnx_runtime.pool.turn import Turn
from rnnx_runtime.pool.unserved import Unserved
from rnnx_runtime.pool.waiting import Waiting
from rnnx_runtime.threads.latch import Latch

Clock = Callable[[], float]
Evicted = Callable[[str, tuple[Array, ...], Contract], None]

_SURE = 0.8
"""The share of a step's expected time in which it will hardly be over."""

_LOOK_S = 0.001
"""How often a new thread looks whether it is in charge."""

_SOON_S = 1.0
"""How long a thread may take that has nothing left to do."""

_LOG = logging.getLogger("rnnx_runtime.pool")


class Worker:
    """Forms batches, runs them and hands out the results, one step at a time.

    All states, queues and counts are this thread's own. What other threads touch (a request's phase, the inbox, the
    seats) is changed under the inbox's lock.
    """

    def __init__(
        self,
        model: BatchedModel,
        inbox: Inbox,
        slots: Slots,
        seats: set[Seat],
        counters: Counters,
        options: PoolOptions,
        clock: Clock,
        on_evict: Evicted | None,
        bell: Any,
    ) -> None:
        """Make its thread; `bell` is the inbox's, or will be from when the worker is in charge on."""
        self.model = model
        self.is_stalled = False
        """Whether a step hangs."""
        self.turn = Turn()
        """Who has it runs the steps."""
        self.is_retired = False
        """Whether everything is left to another worker, or to nobody; set under the inbox's lock while a step hangs."""
        self._inbox = inbox
        self._slots = slots
        self._seats = seats
        self._counters = counters
        self._options = options
        self._clock = clock
        self._on_evict = on_evict
        self._schedule = Schedule(partial(take_back, slots))
        self._direct = DirectSteps(model, slots)
        self._waiting = Waiting(options)
        self._collector = Collector(
            inbox, self._schedule, self._waiting, seats, options, clock, self.turn, bell, lambda: self.is_retired
        )
        self._unserved = Unserved(inbox, seats)
        self._running: Sequence[object] = ()
        """The pushes or the seats whose step runs."""
        self._finished: list[Push] = []
        """Pushes whose output is there and whose callers have not been told."""
        self._started = 0.0
        self.is_in_charge = self.is_unwanted = False
        """Whether to begin to serve, or to end without."""
        self._evicted = clock()
        self._ended = Latch()
        self._thread = Thread(target=self._serve, name="rnnx-pool", daemon=True)

    def start(self) -> None:
        """Start the thread; it serves once it is in charge, and takes over what is in the seats' queues then."""
        self._thread.start()

    def stop(self) -> None:
        """Stop once nothing waits; to be called by the worker's thread."""
        self._collector.is_stopping = True

    def leave_if_stalled(self) -> bool:
        """Leave everything to nobody if a step hangs: its session is closed when it returns."""
        with self._inbox.lock:  # without a call within, as `Inbox` says
            if self.is_stalled:
                self.is_retired = True
        return self.is_retired

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; whether it has done its last work."""
        if not self._ended.wait(timeout_s):
            return False
        self._thread.join(_SOON_S)
        return True

    def use(self, model: BatchedModel) -> BatchedModel:
        """Run the steps from now on with another model; gives the old one. To be called by the worker's thread."""
        self._slots.flush()
        old, self.model = self.model, model
        self._direct = DirectSteps(model, self._slots)
        self._counters.swaps += 1
        return old

    def abandon_hanging_step(self) -> None:
        """Fail all that waits if the step has run for too long; called from another thread."""
        timeout_s = self._options.step_timeout_s
        with self._inbox.lock:
            if not self._running or self.is_stalled or self._clock() - self._started < timeout_s:
                return
            self.is_stalled = True
            self._counters.stalls += 1
            error = hanging_step(self.model.session.device, timeout_s)
            self._inbox.refusal = self._inbox.refusal or error  # a pool that closes stays closed
            failed = self._unserved.fail_at_once(error)
        deliver(failed)

    def fail_waiting(self, error: RnnxError) -> None:
        """Fail every request that waits; may be called anywhere, for no lock is held between two of them."""
        self._unserved.fail(error)

    def _serve(self) -> None:
        try:
            self.turn.take_if_free()  # nobody has it: a caller looks first whether it is in charge
            self._wait_for_charge()
            while not self._is_over():
                self._serve_once()
            self._deliver_finished()
        except BaseException as error:
            self._die(error)
            raise
        finally:
            self._ended.set()
            if self.is_retired:
                with contextlib.suppress(RnnxError):
                    self.model.session.close()

    def _wait_for_charge(self) -> None:
        while not (self.is_in_charge or self.is_unwanted):
            time.sleep(_LOOK_S)  # no lock: who sets the flag does so where no call may stand
        for seat in list(self._seats) if self.is_in_charge else ():
            self._schedule.adopt(seat)

    def _is_over(self) -> bool:
        if self.is_retired or self.is_unwanted:
            return True
        return self._collector.is_stopping and not self._schedule.streams and self._inbox.is_empty()

    def _serve_once(self) -> None:
        begun = self._collector.collect(self._deliver_finished)
        if not self.is_retired:
            self._serve_taken(begun)
            self._evict_idle()

    def _serve_taken(self, begun: float) -> None:
        """One step of what has been taken in."""
        batch = self._schedule.next_batch(self._collector.full(), self._clock())
        self._settle_passed_over()
        if self.model.has_open_frames and len(batch) > 1:
            batch, others = alike(batch, self.model)
            self._schedule.put_back(others)
        if batch:
            self._run(batch, begun)
        else:
            self._deliver_finished()

    # In a caller's thread

    def may_lead(self) -> bool:
        """Have the caller run steps until `stop_leading`, if nobody is at work."""
        if not self.turn.take_if_free():
            return False
        if self.is_in_charge and not (self.is_retired or self._collector.is_stopping):
            self._inbox.is_attended = True
            return True
        self.turn.give_back()
        return False

    def run_directly(self, group: RowGroup, inputs: Mapping[str, Array]) -> dict[str, Array] | None:
        """Run one frame of each seat, `(B, …)` by name, in the caller's thread; None where the line must be kept.

        That is where requests wait, where a wait for more rows would pay, where there is no room, or where a seat has
        changed since the caller looked.
        """
        inbox, schedule, rows, now = self._inbox, self._schedule, len(group.seats), self._clock()
        if schedule.streams or schedule.owes_answers or not inbox.is_empty() or not self.model.runs_directly:
            return None
        if group.epoch is not inbox.epoch:
            return None
        self._waiting.saw_arrivals(1, now, now)
        full = self._collector.full()
        if rows < full and self._waiting.slice_s(rows, full, 0.0) > 0:
            return None
        with inbox.lock:
            is_refused = inbox.refusal is not None or inbox.pushes + rows > inbox.limit
            if not is_refused:
                inbox.pushes += rows
                self._running, self._started = group.seats, now
        return None if is_refused else self._run_group(group, inputs, now)

    def _run_group(self, group: RowGroup, inputs: Mapping[str, Array], started: float) -> dict[str, Array]:
        rows = len(group.seats)
        try:
            outputs = self._direct.run(group, inputs)
        except Exception as error:
            self._end_seats(rows)
            self._counters.rejections["failed"] += rows
            if isinstance(error, RnnxError):
                raise
            raise broken_step(error) from error
        except BaseException:
            self._end_seats(rows)
            raise
        if not self._end_seats(rows):
            raise hanging_step(self.model.session.device, self._options.step_timeout_s)
        self._direct.keep(group)
        ended = self._clock()
        if self._options.idle_s is not None:
            for seat in group.seats:
                seat.last_used = ended
        self._count_seats(rows, ended - started)
        return outputs

    def _end_seats(self, rows: int) -> bool:
        """Note that the step is over; whether its results count."""
        inbox = self._inbox
        with inbox.lock:
            self._running = ()
            inbox.pushes -= rows
            if not self.is_retired and self.is_stalled:
                self._recover()
        return not self.is_retired

    def _count_seats(self, rows: int, seconds: float) -> None:
        counters = self._counters
        self._waiting.saw_step(rows, seconds)
        counters.steps += 1
        counters.frames += rows
        counters.pushes += rows
        counters.batch_size.observe(rows)
        counters.step_s.observe(seconds)
        counters.handling_s.observe(0.0)
        counters.wait_s.observe_many(0.0, rows)
        counters.latency_s.observe_many(seconds, rows)

    def lead(self, request: Request) -> None:
        """Run steps with all that waits, until the request is over or there is something to wait for."""
        try:
            begun = self._clock()
            self._collector.take(begun)
            while not (request.is_settled or self.is_retired) and self._collector.is_time():
                self._serve_taken(begun)
                self._deliver_finished()
                begun = self._clock()
                self._collector.take(begun)
        except BaseException as error:
            self._collector.is_stopping = True
            self._die(error)
            raise

    def stop_leading(self) -> None:
        """Leave what still waits to the pool's thread."""
        inbox, schedule = self._inbox, self._schedule
        if not self.is_retired:
            inbox.right_of_way.pass_on(inf)
            inbox.is_attended = False
        self.turn.give_back()
        # Who takes the turn now looks at all of it in the end; and a call, unlike a ring, wakes who is about to sleep.
        if not self.turn.is_taken and (schedule.streams or schedule.owes_answers or not inbox.is_empty()):
            inbox.put_call(Call(None, inbox.lock, _nothing, is_certain=True))

    def _die(self, error: BaseException) -> None:
        """A defect: nobody may wait for ever because of it."""
        refusal = dead_thread(error)
        schedule = self._schedule
        late = [push for push, _ in schedule.refused]
        with self._inbox.lock:
            self._inbox.refusal = refusal
            failed = self._unserved.fail_at_once(refusal)
            failed += [request for request in (*late, *schedule.homeless) if request.fail(own_copy(refusal))]
            failed += self._unserved.fail_certain(refusal)
        deliver([*failed, *schedule.called, *self._finished])
        self._ended.set()
        # Last: who waits for this thread may have been interrupted with the lock of the log in hand.
        _LOG.error("the pool's thread ended", exc_info=error)

    # Before a step

    def _settle_passed_over(self) -> None:
        """Tell those whose pushes did not make it into a batch, and those whose calls have run."""
        schedule = self._schedule
        if schedule.called:
            deliver(schedule.called)
            schedule.called = []
        if schedule.refused:
            self._reject(*zip(*schedule.refused, strict=True))
            schedule.refused = []
        if schedule.dropped:
            with self._inbox.lock:
                self._inbox.pushes -= len(schedule.dropped)
            self._count_dropped(schedule.dropped)
            schedule.dropped = []
        if schedule.homeless:
            self._refuse_homeless()

    def _refuse_homeless(self) -> None:
        homeless, self._schedule.homeless = self._schedule.homeless, []
        pushes = [request for request in homeless if isinstance(request, Push)]
        self._reject(pushes, [closed_stream(push.seat) for push in pushes])
        calls = [request for request in homeless if not isinstance(request, Push)]
        with self._inbox.lock:
            failed = [call for call in calls if call.fail(closed_stream(call.seat))]
        deliver(failed)

    def _reject(self, pushes: Sequence[Push], errors: Sequence[RnnxError]) -> None:
        with self._inbox.lock:
            self._inbox.pushes -= len(pushes)
            failed = [push for push, error in zip(pushes, errors, strict=True) if push.fail(error)]
        deliver(failed)
        self._count_dropped(pushes)

    def _count_dropped(self, pushes: Sequence[Push]) -> None:
        for push in pushes:
            self._counters.rejections[rejection_reason(push.error)] += 1

    # One step

    def _run(self, pushes: list[Push], begun: float) -> None:
        try:
            batch = Batch(pushes, self.model, self._options.max_frames)
            state = batch.gather(self._slots)
        except Exception as error:  # frames that do not fit each other must not end the pool's thread
            self._fail_step(pushes, error)
            return
        if batch.has_ends and (refused := self.model.ends.refusals(pushes)):
            self._refuse_ends(pushes, dict(refused))
            return
        with self._inbox.lock:
            self._running = pushes
            self._started = started = self._clock()
        # Callers who wake up before want the interpreter while this thread needs it: tell them once the step runs.
        self._deliver_finished()
        self._inbox.right_of_way.pass_on(self._clock() + _SURE * self._waiting.step_s(len(pushes) * batch.frames))
        try:
            outputs, state = self.model.run(batch.inputs, state)
        except Exception as error:  # whatever a backend raises belongs to the callers, and the pool lives on
            self._fail_step(pushes, error)
            return
        ended = self._clock()
        self._inbox.right_of_way.wanted_from = 0.0
        phases = self._commit(batch)
        if self.is_retired:
            return
        batch.keep(self._slots, state, outputs, phases)
        if batch.has_ends:
            self._inbox.epoch = object()
        self._count_dropped([push for push, phase in zip(pushes, phases, strict=True) if phase == DROPPED])
        self._schedule.advance(pushes, [phase != WAITING for phase in phases], ended)
        committed = [push for push, phase in zip(pushes, phases, strict=True) if phase == COMMITTED]
        self._finished += committed
        self._count(batch, committed, begun, started, ended)

    def _refuse_ends(self, pushes: list[Push], refused: Mapping[Push, RnnxError]) -> None:
        """Refuse some pushes of a batch, and put the others back to the head of the line."""
        self._schedule.put_back([push for push in pushes if push not in refused])
        self._reject([*refused], [*refused.values()])
        self._schedule.advance([*refused], [True] * len(refused), self._clock())

    def _commit(self, batch: Batch) -> list[int]:
        """Make the results certain of all rows that were not dropped meanwhile; gives the phase of each row."""
        with self._inbox.lock:
            self._running = ()
            if self.is_retired:
                return []
            self._recover()
            for push in batch.pushes:
                if push.phase == WAITING and push.started + batch.frames >= push.frames:
                    push.phase = COMMITTED
            phases = [push.phase for push in batch.pushes]
            self._inbox.pushes -= len(phases) - phases.count(WAITING)
        return phases

    def _recover(self) -> None:
        """A step that seemed to hang came back; under the lock."""
        if self.is_stalled:
            self.is_stalled = False
            if isinstance(self._inbox.refusal, StepTimeout):
                self._inbox.refusal = None

    def _fail_step(self, pushes: list[Push], error: Exception) -> None:
        """Fail a whole batch; its streams keep the states they had."""
        cause = error if isinstance(error, RnnxError) else broken_step(error)
        with self._inbox.lock:
            self._running = ()
            if self.is_retired:
                return
            self._recover()
            self._inbox.pushes -= len(pushes)
            failed = [push for push in pushes if push.fail(own_copy(cause))]
        for push in pushes:
            if push.started:
                take_back(self._slots, push)
        self._schedule.advance(pushes, [True] * len(pushes), self._clock())
        deliver(failed)
        self._count_dropped(pushes)

    def _deliver_finished(self) -> None:
        if self._finished:
            finished, self._finished = self._finished, []
            now = self._clock()
            self._counters.latency_s.observe_all([now - push.queued_at for push in finished])
            deliver(finished)  # last: who wakes up takes the interpreter at the first call that lets go of it

    def _count(self, batch: Batch, committed: list[Push], begun: float, started: float, ended: float) -> None:
        rows = len(batch.pushes)
        counters, now = self._counters, self._clock()
        self._waiting.saw_step(rows * batch.frames, ended - started)
        counters.steps += 1
        counters.frames += rows * batch.frames * self.model.ends.multiple
        counters.pushes += len(committed)
        counters.batch_size.observe(rows)
        counters.step_s.observe(ended - started)
        counters.handling_s.observe(now - ended + started - begun)
        counters.wait_s.observe_all([started - push.queued_at for push in committed])

    # Streams that nobody uses

    def _evict_idle(self) -> None:
        idle_s = self._options.idle_s
        if idle_s is None or self.is_retired:
            return
        now = self._clock()
        if now - self._evicted < idle_s / 4:
            return
        self._evicted = now
        self._collector.take(now)  # a stream whose push came during a long step is not idle
        with self._inbox.lock:
            idle = [seat for seat in self._seats if not seat.queue and now - seat.last_used > idle_s]
            for seat in idle:
                seat.is_closed = seat.evicted = True
            self._seats.difference_update(idle)
        self._inbox.epoch = object()
        for seat in idle:
            self._counters.evictions += 1
            if self._on_evict is not None:
                self._on_evict(seat.name, self.model.own_rows(self._slots.read(seat.slot)), self.model.session.spec)
            self._slots.release(seat.slot)


def _nothing() -> None:
    """What a call does that only wakes the pool's thread."""
