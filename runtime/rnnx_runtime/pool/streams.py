"""One conversation in a pool."""

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rnnx_runtime.pool.completions import CompletionQueue
from rnnx_runtime.pool.conversation import Conversation
from rnnx_runtime.pool.requests import Push
from rnnx_runtime.state import State

if TYPE_CHECKING:
    from rnnx_runtime.pool.async_stream import AsyncPoolStream


class PoolStream(Conversation):
    """One conversation in a pool, used from threads; its pushes run in the order they were made.

    `async with pool.open() as stream` gives one whose verbs are coroutines.
    """

    def push(self, x: Any, *, timeout_s: float | None = None) -> Any:
        """Push a frame such as `(I,)` or a chunk such as `(T, I)` and wait for its output, `(P,)` or `(T, P)`.

        A model that gives its results late gives those that are known, which may be none, with their axis of time.

        Args:
            x: of the model's dtype, copied; of a model with several plain inputs a mapping, which gives a mapping.
            timeout_s: the longest time to wait for the output; the push is not applied when it is over.

        Raises:
            InputError: a wrong type, dtype or shape, or NaN or infinity where the pool rejects it; or the sequence has
                ended.
            PoolOverloaded: as many pushes wait as may; nothing was queued.
            DeadlineExceeded: `timeout_s` is over.
            StepTimeout: the backend hangs.
            BackendError: the backend failed.
            StreamClosedError: the stream was closed or evicted.
            PoolClosedError: the pool was closed.
        """
        return self._pool.push(self._seat, self.checked(x), timeout_s)

    def submit(
        self, x: Any, *, timeout_s: float | None = None, into: CompletionQueue | None = None, tag: Any = None
    ) -> Push:
        """Push without waiting: `submit(x).result()` is `push(x)`; errors of x and the queue come at once.

        Args:
            x: as of `push`.
            timeout_s: as of `push`.
            into: a queue to put the push into once it is settled, for a thread that serves many streams.
            tag: anything to know the push by when it comes out of there, as `push.tag`.
        """
        return self._pool.submit(self._seat, self.checked(x), timeout_s, into, tag)

    def flush(self, x: Any = None, *, timeout_s: float | None = None) -> Any:
        """End the sequence, and wait for what a model that gives its results late still owes.

        Args:
            x: the last frames, as a chunk of any length; none when left out.
            timeout_s: as of `push`.

        Returns:
            The last results, with their axis of time. The stream takes no push then until `reset` or `restore`.

        Raises:
            InputError: the sequence has ended before, or as `push`; and what else `push` raises.
        """
        given = self.checked_last(x)
        if given is not None:
            return self._pool.push(self._seat, given, timeout_s)
        results = self._pool.ask(self.call(self.ender()), timeout_s)
        return results if self.is_by_name(x) else next(iter(results.values()))

    @property
    def state(self) -> State:
        """The state after all pushes so far, with B = 1; waits for them."""
        state: State = self._pool.ask(self.call(self.read_state))
        return state

    def reset(self, state: Mapping[str, Any] | None = None) -> None:
        """Start again from a state with B = 1, or zeros, after the pushes so far.

        Raises:
            InputError: the state has other sizes.
        """
        self._pool.ask(self.call(self.resetter(state)))

    def snapshot(self) -> bytes:
        """The state after all pushes so far, to go on from in any process and on any backend."""
        data: bytes = self._pool.ask(self.call(self.take_snapshot))
        return data

    def restore(self, data: bytes, *, any_weights: bool = False) -> None:
        """Go on from a snapshot, after the pushes so far.

        Raises:
            SnapshotError: it is damaged, or of another model; `any_weights` takes one of other weights.
        """
        self._pool.ask(self.call(self.restorer(data, any_weights)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> "AsyncPoolStream":
        from rnnx_runtime.pool.async_stream import AsyncPoolStream  # asyncio costs those who have no loop an import

        return AsyncPoolStream(self._pool, self._lease)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
