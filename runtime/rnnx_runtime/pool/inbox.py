"""Where requests come in from many threads and go out to one."""

import time
from threading import RLock
from typing import Any

from rnnx_runtime.errors import PoolOverloaded, RnnxError
from rnnx_runtime.pool.requests import Call, Request, own_copy
from rnnx_runtime.pool.right_of_way import RightOfWay
from rnnx_runtime.threads.latch import new_bell, ring


class Inbox:
    """A bounded queue that wakes its reader when as much is there as the reader waits for.

    `lock` is the pool's one lock: requests change their phase under it, too. What a caller does under it holds no call
    and no loop, for CPython runs signal handlers after calls and at loops' ends: so a handler never finds it taken by
    the code that it interrupted, and may wait for whatever needs it. Hence `+=` where `append` is meant.
    """

    def __init__(self, limit: int, plenty: int | None = None) -> None:
        self.lock = RLock()
        self.pushes = 0
        """Pushes that are accepted and not settled yet."""
        self.refused = 0
        """Pushes refused because the pool was full."""
        self.refusal: RnnxError | None = None
        """Why nothing more is taken, once that is so."""
        self.epoch = object()
        """Another one after each change of which seats may be pushed: a stream closed, evicted, flushed or set back."""
        self.limit = limit
        """Pushes that may wait."""
        self.right_of_way = RightOfWay()
        self._plenty = limit if plenty is None else plenty
        """So many pushes give the reader enough to do: more of them do not hurry."""
        self._requests: list[Request] = []
        self._waiting = 0
        """How many requests those are."""
        self.bell = new_bell()
        """What the reader waits for; another reader brings a bell of its own."""
        self.is_attended = False
        """Whether a caller runs the steps, who looks at what has come in before he goes: the reader may sleep on."""
        self._wakes_at = 0
        """How many requests wake the reader; 0 while it is awake."""
        self._is_rung = False
        """Whether the reader must wake up, however many there are."""

    def put_push(self, push: Request) -> None:
        """Queue a push.

        Raises:
            PoolOverloaded: as many pushes wait as may.
            RnnxError: the refusal, of a pool that takes nothing more.
        """
        with self.lock:
            refusal = self.refusal
            is_taken = refusal is None and self.pushes < self.limit
            if is_taken:
                self.pushes += 1
                self._waiting += 1
                self._requests += (push,)
            elif refusal is None:
                self.refused += 1
        if not is_taken:
            raise self._overloaded() if refusal is None else own_copy(refusal)
        if 0 < self._wakes_at <= self._waiting and not self.is_attended:
            self._release_bell()
        if self.pushes > self._plenty and push.queued_at > self.right_of_way.wanted_from:
            self.right_of_way.give()

    def refuse_if_full(self, now: float) -> None:
        """Raise as `put_push` does, where there is no room; a caller who goes on at once lets the reader go first."""
        with self.lock:
            refusal = self.refusal
            is_full = self.pushes >= self.limit
            if refusal is None and is_full:
                self.refused += 1
        if refusal is not None:
            raise own_copy(refusal)
        if is_full:
            if now > self.right_of_way.wanted_from:
                self.right_of_way.give()
            raise self._overloaded()

    def _overloaded(self) -> PoolOverloaded:
        return PoolOverloaded(
            "pool",
            got=f"{self.limit} pushes waiting",
            expected=f"fewer than {self.limit} (PoolOptions.max_queue)",
            remedy="push less often, or run another pool",
        )

    def put_call(self, call: Call) -> None:
        """Queue a call and wake the reader.

        Raises:
            RnnxError: the refusal, of a pool that takes nothing more; not for a call that must happen in any case.
        """
        with self.lock:
            refusal = None if call.is_certain else self.refusal
            if refusal is None:
                self._waiting += 1
                self._requests += (call,)
        if refusal is not None:
            raise own_copy(refusal)
        self.ring()

    def ring(self) -> None:
        """Wake the reader."""
        self._is_rung = True
        if self._wakes_at:
            self._release_bell()

    def _release_bell(self) -> None:
        """Wake the reader, which looks for itself why: rung once too often, it goes on waiting."""
        if self.bell.locked():
            ring(self.bell)

    def take_all(self, bell: Any = None) -> list[Request]:
        """Everything that has come in since the last time; for the reader, whose bell it is if one is given.

        A reader that gave way to another wakes up late: it gets nothing, for it is the other's.
        """
        taken: list[Request] = []
        with self.lock:
            if bell is None or bell is self.bell:
                taken, self._requests = self._requests, taken
                self._waiting = 0
        return taken

    def wait(self, count: int, timeout_s: float | None, bell: Any = None) -> None:
        """Wait until `count` requests are there, a call is, or the time is up; for the reader, as `take_all`."""
        bell = bell or self.bell
        if self._waiting >= count or bell is not self.bell:
            return
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        self._is_rung = False
        self._wakes_at = count
        # Who puts something in looks at `_wakes_at` afterwards: one of the two always sees the other.
        while self._waiting < count and not self._is_rung:
            left = -1.0 if ends is None else max(ends - time.monotonic(), 0.0)
            if not bell.acquire(timeout=left) or bell is not self.bell:
                break
        if bell is self.bell:
            self._wakes_at = 0

    def is_empty(self) -> bool:
        """Whether nothing has come in since the last `take_all`."""
        return not self._requests

    def waiting(self) -> list[Request]:
        """What has come in and was not taken."""
        return list(self._requests)
