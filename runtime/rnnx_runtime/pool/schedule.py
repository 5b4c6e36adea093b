"""Which streams take part in the next step."""

from collections import deque
from collections.abc import Callable, Iterable

from rnnx_runtime.errors import RnnxError
from rnnx_runtime.pool.requests import WAITING, Call, Push, Request, Seat
from rnnx_runtime.stream import ended


class Schedule:
    """The line of streams that have work; for the pool's thread alone.

    Each step takes the first streams of the line, one push of each, and a stream that has more work goes to the end.
    So of S streams with work and n rows a step each takes part in every ⌈S / n⌉-th step at least, whatever the others
    push: no stream starves.
    """

    def __init__(self, take_back: Callable[[Push], None]) -> None:
        self._take_back = take_back
        """Undoes the part of a chunk that has run."""
        self._line: deque[Seat] = deque()
        self.refused: list[tuple[Push, RnnxError]] = []
        """Pushes that cannot run, and what to tell them: the deadline was over before, or the sequence."""
        self.called: list[Call] = []
        """Calls that have run; to be settled."""
        self.dropped: list[Push] = []
        """Pushes that were cancelled or had failed before they left the line; they are settled."""
        self.homeless: list[Request] = []
        """Requests for streams that are closed; to be refused."""

    def add(self, requests: Iterable[Request]) -> None:
        """Put requests at the end of their streams' queues; a call that belongs to no stream runs at once."""
        for request in requests:
            seat = request.seat
            if seat is None:
                self._run_call(request)
                continue
            if seat.is_closed:
                self.homeless.append(request)
                continue
            seat.queue.append(request)
            if not seat.is_ready:
                seat.is_ready = True
                self._line.append(seat)

    def adopt(self, seat: Seat) -> None:
        """Take over a stream from the schedule of a thread that hangs."""
        seat.is_ready = bool(seat.queue)
        if seat.queue:
            self._line.append(seat)

    @property
    def owes_answers(self) -> bool:
        """Whether requests have met their end that nobody has been told of."""
        return bool(self.called or self.homeless or self.refused or self.dropped)

    @property
    def streams(self) -> int:
        """Streams that have work."""
        return len(self._line)

    def next_batch(self, most: int, now: float) -> list[Push]:
        """The pushes of the next step, `most` at most and one of a stream; calls that stand before them run now."""
        batch: list[Push] = []
        for _ in range(len(self._line)):
            seat = self._line.popleft()
            first = seat.queue[0]
            # Most often a push that can run: found without a call, for this is done for every row of every step.
            can_run = type(first) is Push and first.phase == WAITING and first.deadline is None and not seat.is_over
            push = first if can_run else self._next_push(seat, now)
            if push is None:
                seat.is_ready = False
                continue
            batch.append(push)  # type: ignore[arg-type] # mypy does not see through can_run
            if len(batch) >= most:
                break
        return batch

    def put_back(self, pushes: list[Push]) -> None:
        """Put the streams of pushes that cannot run in this step back to the head of the line."""
        self._line.extendleft(push.seat for push in reversed(pushes))  # type: ignore[misc] # a push always has a seat

    def advance(self, batch: list[Push], finished: list[bool], now: float) -> None:
        """Put the streams of a batch that still have work at the end of the line; the others are idle from now on."""
        for push, is_over in zip(batch, finished, strict=True):
            seat = push.seat
            assert seat is not None
            if is_over:
                seat.queue.popleft()
            if seat.queue:
                self._line.append(seat)
            else:
                seat.is_ready = False
                seat.last_used = now

    def _next_push(self, seat: Seat, now: float) -> Push | None:
        """The first push of a stream that can run."""
        queue = seat.queue
        while queue:
            request = queue[0]
            if type(request) is Push:
                is_late = request.deadline is not None and now >= request.deadline
                if request.phase == WAITING and not is_late and not seat.is_over:
                    return request
                queue.popleft()
                seat.last_used = now
                self._pass_over(request, request.late() if is_late else ended(f"stream {seat.name!r}"))
            else:
                queue.popleft()
                self._run_call(request)
                if seat.is_closed:  # what came after a close has no slot any more
                    self.homeless += queue
                    queue.clear()
        return None

    def _pass_over(self, push: Push, error: RnnxError) -> None:
        if push.started:
            self._take_back(push)
        if push.phase == WAITING:
            self.refused.append((push, error))
        else:
            self.dropped.append(push)

    def _run_call(self, call: Request) -> None:
        assert isinstance(call, Call)
        if call.run():
            self.called.append(call)
