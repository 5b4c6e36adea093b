"""The requests of a pool that nobody will serve any more, and how they are told."""

from rnnx_runtime.errors import RnnxError
from rnnx_runtime.pool.delivery import deliver
from rnnx_runtime.pool.inbox import Inbox
from rnnx_runtime.pool.requests import COMMITTED, DROPPED, WAITING, Call, Request, Seat, own_copy


class Unserved:
    """Fails what waits in the inbox and in the seats' queues."""

    def __init__(self, inbox: Inbox, seats: set[Seat]) -> None:
        self._inbox, self._seats = inbox, seats

    def fail(self, error: RnnxError) -> None:
        """Fail every request that waits; may be called anywhere, for no lock is held between two of them."""
        failed = []
        for request in self._uncertain():
            own = own_copy(error)
            with self._inbox.lock:  # without a call within, as `Inbox` says
                is_waiting = request.phase == WAITING
                if is_waiting:
                    request.phase = DROPPED
                    request.error = own
            if is_waiting:
                failed.append(request)
        deliver(failed)

    def fail_at_once(self, error: RnnxError) -> list[Request]:
        """Fail all of them, for those to whom they are to be delivered; under the lock, in a pool's thread."""
        return [request for request in self._uncertain() if request.fail(own_copy(error))]

    def fail_certain(self, error: RnnxError) -> list[Request]:
        """Fail the pushes whose results were certain and were lost on their way out; under the lock."""
        lost = [request for seat in self._seats for request in seat.queue if request.phase == COMMITTED]
        for request in lost:
            request.error = own_copy(error)
        return lost

    def _uncertain(self) -> list[Request]:
        """What waits, but what must happen in any case (a stream's close), which keeps waiting."""
        requests = [request for seat in list(self._seats) for request in list(seat.queue)]
        requests += self._inbox.waiting()
        return [request for request in requests if not (isinstance(request, Call) and request.is_certain)]
