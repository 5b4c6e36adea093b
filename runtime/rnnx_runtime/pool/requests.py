"""What callers ask of a pool: a push, or a call between two steps; each is settled once, from whatever thread."""

import copy
import time
from collections import deque
from collections.abc import Callable, Iterable
from os import getpid
from typing import Any

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.errors import DeadlineExceeded, ForkedError, PushCancelled, RnnxError
from rnnx_runtime.threads.latch import new_bell, ring, wait_for

WAITING, COMMITTED, DROPPED = range(3)
"""The phases of a request: it may still be cancelled; its effect is certain; it has none and never will."""


Given = tuple[tuple[Array, ...], int, bool, int | None]
"""What a push takes: the model's plain inputs in their order, of a chunk with time in front; its steps of time, 0 of a
frame; whether the outputs are wanted by name; and of the sequence's last chunk how many of its frames belong to it.
A plain tuple, for a named one takes ten times as long to make."""


class PushQueue:
    """Where the settled pushes of many streams can end; a `CompletionQueue` is one."""

    __slots__ = ()

    def put(self, pushes: Iterable["Push"]) -> None:
        """Add settled pushes."""
        raise NotImplementedError


class Seat:
    """One stream's place in a pool: the row of its state, and its requests in the order they came."""

    __slots__ = (
        "evicted",
        "is_closed",
        "is_leaving",
        "is_over",
        "is_ready",
        "last_used",
        "name",
        "pid",
        "queue",
        "slot",
    )

    def __init__(self, name: str, slot: int | None, now: float) -> None:
        self.name = name
        self.slot: int = slot  # type: ignore[assignment] # None until it has one, before anybody else knows of it
        self.pid = getpid()
        self.queue: deque[Request] = deque()
        self.is_ready = False
        """Whether it stands in the line of streams that have work."""
        self.last_used = now
        self.is_leaving = False
        """Whether its close stands in the queue."""
        self.is_closed = False
        self.evicted = False
        self.is_over = False
        """Whether its sequence has ended, so that it takes no push until it is set back; the pool's thread's own."""


class Request:
    """Something asked of a pool, and later its result."""

    __slots__ = ("_bell", "_lock", "error", "future", "is_settled", "phase", "queued_at", "seat")

    def __init__(self, seat: Seat | None, lock: Any, future: Any = None) -> None:
        self.seat = seat
        self.future = future
        """An event loop's future, or the completion queue to end in."""
        self.phase = WAITING
        self.error: BaseException | None = None
        self.is_settled = False
        self.queued_at = 0.0
        """When it came, in seconds of the pool's clock; 0 of a call."""
        self._lock = lock
        self._bell: Any = None

    def settle(self) -> None:
        """Let whoever waits go on; the result or the error is in place. Called once, after the phase has changed."""
        self.is_settled = True
        if self._bell is not None:
            ring(self._bell)

    def fail(self, error: BaseException) -> bool:
        """Give an error in place of a result, unless it is too late; the caller holds the pool's lock."""
        if self.phase != WAITING:
            return False
        self.phase = DROPPED
        self.error = error
        return True

    def drop(self, error: RnnxError) -> bool:
        """Fail the request from outside of the pool's thread, if it is not too late."""
        self.check_process()
        with self._lock:  # without a call within, as `Inbox` says
            is_waiting = self.phase == WAITING
            if is_waiting:
                self.phase = DROPPED
                self.error = error
        if is_waiting:
            self.settle()
            if isinstance(self.future, PushQueue):
                self.future.put([self])  # type: ignore[list-item] # of all requests pushes alone have one
        return is_waiting

    def cancel(self) -> bool:
        """Take it back; False when its result is there, or about to be."""
        return self.drop(
            PushCancelled("push", got="a cancellation", expected="an output", remedy="push again to go on")
        )

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until settled; False when the time is up before."""
        return self.is_settled or self._wait_for_bell(timeout_s)

    def check_process(self) -> None:
        """Refuse to wait in a forked child, which has neither the pool's thread nor perhaps its lock ever again.

        Raises:
            ForkedError: this is another process than the stream was opened in.
        """
        if self.seat is not None and self.seat.pid != getpid():
            raise ForkedError(
                "push",
                got=f"a call in process {getpid()}, forked after the stream was opened in {self.seat.pid}",
                expected="the process that opened the stream",
                remedy="wait for pushes before the fork, or make a pool in each process",
            )

    def _wait_for_bell(self, timeout_s: float | None) -> bool:
        self.check_process()
        own = new_bell()
        with self._lock:  # without a call within, as `Inbox` says
            bell = self._bell = self._bell or own
        try:
            # Settling reads the bell after it has set the flag, so one of the two always sees the other.
            return self.is_settled or wait_for(bell, timeout_s) or self.is_settled
        finally:
            if self.is_settled:
                ring(bell)  # for another thread that waits for the same result

    def outcome(self) -> Any:
        """The result; raises the error."""
        raise NotImplementedError


class Push(Request):
    """A frame or a chunk on its way through a pool, and later its output.

    A push is all or nothing: when it fails or is cancelled, the stream's state is what it was before.
    """

    __slots__ = (
        "block",
        "clock",
        "deadline",
        "first",
        "frames",
        "last",
        "names",
        "row",
        "saved",
        "started",
        "tag",
        "timeout_s",
        "x",
        "y",
    )

    def __init__(self, seat: Seat, lock: Any, x: tuple[Array, ...], future: Any = None) -> None:
        Request.__init__(self, seat, lock, future)
        self.x = x
        self.names: tuple[str, ...] | None = None
        """The outputs' names, where they are wanted by name; else there is one."""
        self.tag: Any = None
        """What the caller gave to know the push by."""
        self.frames = 0
        """Steps of time of a chunk; 0 for a single frame."""
        self.started = 0
        """Steps of the chunk that have run."""
        self.first = 0
        """Steps of the sequence that came before the chunk, where the model counts them."""
        self.last: int | None = None
        """Of a sequence's last chunk, how many of its frames belong to the sequence."""
        self.saved: tuple[Array, ...] | None = None
        """The state before the chunk, of one that takes several steps."""
        self.y: list[Array] | None = None
        self.block: list[Array] | None = None
        """The outputs of the whole step, of which `row` is this push's, until its copies are taken."""
        self.row = 0
        self.clock: Callable[[], float] = time.monotonic
        self.deadline: float | None = None
        self.timeout_s: float | None = None

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the output: `(P,)` of a frame, `(T, P)` of a chunk; a mapping of what was pushed by name.

        Args:
            timeout_s: seconds to wait here; the push itself goes on.

        Raises:
            TimeoutError: `timeout_s` is over.
            DeadlineExceeded: the push's own deadline is over; it was not applied.
            PushCancelled: it was cancelled.
            InputError: it held NaN or infinity.
            BackendError: the step failed.
            PoolClosedError: the pool was closed.
        """
        if not self.is_settled:
            self._wait(timeout_s)
        return self.outcome()

    def _wait(self, timeout_s: float | None) -> None:
        if self.deadline is None:
            if not self.wait(timeout_s):
                raise TimeoutError(f"no output within {timeout_s} s; the push goes on")
            return
        left = self.deadline - self.clock()
        if timeout_s is not None and timeout_s < left:
            if not self.wait(timeout_s):
                raise TimeoutError(f"no output within {timeout_s} s; the push goes on")
        elif not self.wait(left) and not self.drop(self.late()):
            self.wait()  # it is running its last frames, or was dropped meanwhile

    def take(self, outputs: list[Array], count: int, rates: tuple[int, ...]) -> None:
        """The outputs `(k, …)` of the next `count` steps of a chunk, each of so many frames a step.

        Of those that have 0 the last is the chunk's.
        """
        if self.y is None:
            self.y = [
                np.empty((rate * self.frames, *value.shape[1:]) if rate else value.shape[1:], value.dtype)
                for value, rate in zip(outputs, rates, strict=True)
            ]
        for own, value, rate in zip(self.y, outputs, rates, strict=True):
            if rate:
                own[rate * self.started : rate * (self.started + count)] = value
            else:
                own[...] = value[-1]
        self.started += count

    def outcome(self) -> Any:
        """The output of a settled push; raises its error."""
        if self.error is not None:
            raise self.error
        block = self.block  # looked at once: another thread may ask for the same output
        if block is not None:
            row = self.row
            # Copies, for the block is shared with the other rows; the dots make an array of a row of one number too.
            self.y = [block[0][row, ...].copy()] if len(block) == 1 else [value[row, ...].copy() for value in block]
            self.block = None
        assert self.y is not None
        return self.y[0] if self.names is None else dict(zip(self.names, self.y, strict=True))

    def late(self) -> DeadlineExceeded:
        """The error of a push that waited too long."""
        return late_after(self.timeout_s)

    @property
    def is_done(self) -> bool:
        """Whether `result` returns at once."""
        return self.is_settled


class Call(Request):
    """A function that the pool's thread calls between two steps, in its place among the requests of a stream."""

    def __init__(
        self, seat: Seat | None, lock: Any, function: Callable[[], Any], *, is_certain: bool = False, future: Any = None
    ) -> None:
        super().__init__(seat, lock, future)
        self._function = function
        self._value: Any = None
        self.is_certain = is_certain
        """Whether it must run in the end, whatever happens to the requests around it."""

    def run(self) -> bool:
        """Call the function and keep what it gives, to be settled; False if the call was dropped before."""
        with self._lock:
            if self.phase != WAITING:
                return False
            self.phase = COMMITTED
        try:
            self._value = self._function()
        except Exception as error:  # it belongs to the caller, who is in another thread
            self.error = error
        return True

    def outcome(self) -> Any:
        """What the function returned; raises what it raised."""
        if self.error is not None:
            raise self.error
        return self._value


def late_after(timeout_s: float | None) -> DeadlineExceeded:
    """The error of a request that waited too long."""
    return DeadlineExceeded(
        "push",
        got=f"no step within {timeout_s} s",
        expected="an output by then",
        remedy="the stream's state is as before this push; push fewer frames a second, or allow more time",
    )


def own_copy(error: RnnxError) -> RnnxError:
    """The same error once more, for each of several callers who may raise it at the same time."""
    again = copy.copy(error)
    again.__cause__ = error
    return again
