"""Where requests come in from many threads and go out to one."""

from collections import deque
from threading import Lock

from rnnx_runtime.errors import PoolOverloaded, RnnxError
from rnnx_runtime.pool.requests import Call, Request, own_copy
from rnnx_runtime.pool.right_of_way import RightOfWay


class Inbox:
    """A bounded queue that wakes its reader when as much is there as the reader waits for.

    `lock` is the pool's one lock: requests change their phase under it, too.
    """

    def __init__(self, limit: int, plenty: int | None = None) -> None:
        self.lock = Lock()
        self.pushes = 0
        """Pushes that are accepted and not settled yet."""
        self.refused = 0
        """Pushes refused because the pool was full."""
        self.refusal: RnnxError | None = None
        """Why nothing more is taken, once that is so."""
        self.limit = limit
        """Pushes that may wait."""
        self.right_of_way = RightOfWay()
        self._plenty = limit if plenty is None else plenty
        """So many pushes give the reader enough to do: more of them do not hurry."""
        self._requests: deque[Request] = deque()
        self._bell = Lock()
        self._bell.acquire()
        self._wakes_at = 0
        """How many requests wake the reader; 0 while it is awake."""

    def put_push(self, push: Request) -> None:
        """Queue a push.

        Raises:
            PoolOverloaded: as many pushes wait as may.
            RnnxError: the refusal, of a pool that takes nothing more.
        """
        with self.lock:
            if self.refusal is not None:
                raise own_copy(self.refusal)
            if self.pushes >= self.limit:
                self.refused += 1
                raise self._overloaded()
            self.pushes += 1
            self._requests.append(push)
            if self._wakes_at and len(self._requests) >= self._wakes_at:
                self._wakes_at = 0
                self._bell.release()
        if self.pushes > self._plenty and push.queued_at > self.right_of_way.wanted_from:
            self.right_of_way.give()

    def refuse_if_full(self, now: float) -> None:
        """Raise as `put_push` does, where there is no room; a caller who goes on at once lets the reader go first."""
        with self.lock:
            if self.refusal is not None:
                raise own_copy(self.refusal)
            if self.pushes < self.limit:
                return
            self.refused += 1
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
            if self.refusal is not None and not call.is_certain:
                raise own_copy(self.refusal)
            self._requests.append(call)
            self._ring()

    def ring(self) -> None:
        """Wake the reader."""
        with self.lock:
            self._ring()

    def _ring(self) -> None:
        if self._wakes_at:
            self._wakes_at = 0
            self._bell.release()

    def take_all(self) -> deque[Request]:
        """Everything that has come in since the last time; for the reader alone."""
        with self.lock:
            taken, self._requests = self._requests, deque()
        return taken

    def wait(self, count: int, timeout_s: float | None) -> None:
        """Wait until `count` requests are there, a call is, or the time is up; for the reader alone."""
        with self.lock:
            if len(self._requests) >= count:
                return
            self._wakes_at = count
        if self._bell.acquire(timeout=-1 if timeout_s is None else max(timeout_s, 0)):
            return
        with self.lock:
            rung = self._wakes_at == 0
            self._wakes_at = 0
        if rung:  # between the end of the wait and the lock
            self._bell.acquire()

    def is_empty(self) -> bool:
        """Whether nothing has come in since the last `take_all`."""
        return not self._requests

    def waiting(self) -> list[Request]:
        """What has come in and was not taken; the caller holds the lock."""
        return list(self._requests)
