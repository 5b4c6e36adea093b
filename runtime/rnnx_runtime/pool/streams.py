"""One conversation in a pool."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.errors import InputError
from rnnx_runtime.pool.completions import CompletionQueue
from rnnx_runtime.pool.lease import Lease
from rnnx_runtime.pool.requests import Call, Given, Push
from rnnx_runtime.snapshot import snapshot_from_state, state_from_snapshot
from rnnx_runtime.state import Part, State
from rnnx_runtime.stream import owned_parts

if TYPE_CHECKING:
    from rnnx_runtime.pool.async_stream import AsyncPoolStream
    from rnnx_runtime.pool.stream_pool import StreamPool

Array = NDArray[Any]

_all = np.logical_and.reduce  # what `ndarray.all` calls in the end


class Conversation:
    """What both kinds of streams share: the calls that run in the pool's thread, in order with the pushes."""

    def __init__(self, pool: "StreamPool", lease: Lease) -> None:
        self._pool = pool
        self._lease = lease
        self._seat = lease.seat
        self._inbox = pool.inbox
        self._layout = layout = pool.model.layout
        lone = layout.lone if layout.lone_output else None
        # A frame whose dims are symbols equals no shape, and is looked at in full.
        self._frame = None if lone is None else lone.frame_dims
        self._dtype = None if lone is None else np.dtype(lone.spec.dtype)
        self._rejects = pool.options.nan == "reject"

    @property
    def name(self) -> str:
        """What errors, logs and `on_evict` call it."""
        return self._seat.name

    def close(self) -> None:
        """Give the slot back once the pushes before are done; does not wait, and closing twice is harmless."""
        self._pool.close_seat(self._seat)

    def checked(self, x: Any) -> Given:
        """A copy of x that the caller cannot change, checked as `push` says, where there is room for it."""
        inbox = self._inbox
        if inbox.pushes >= inbox.limit:
            self._pool.refuse_push()
        if type(x) is np.ndarray and x.dtype is self._dtype and x.shape == self._frame:
            if self._rejects:
                self._refuse_not_finite(x, None)
            return Given((x.copy(),), 0, False)
        return self._looked_at(x)

    def _looked_at(self, x: Any) -> Given:
        values, is_chunk = self._layout.checked(x)
        if self._rejects:
            for name, value in values.items():
                if value.dtype.kind == "f":
                    self._refuse_not_finite(value, name)
        by_name = isinstance(x, Mapping) or self._layout.lone_output is None
        count = self._layout.count(values) if is_chunk else 0
        return Given(tuple([value.copy() for value in values.values()]), count, by_name)

    def _refuse_not_finite(self, x: Array, name: str | None) -> None:
        if not _all(np.isfinite(x), axis=None):
            raise InputError(
                f"input {name or next(iter(self._layout.inputs))!r}",
                got="NaN or infinity in it",
                expected="finite numbers",
                remedy="mend the source, or make the pool with nan='propagate'",
            )

    def _read(self) -> tuple[Array, ...]:
        return self._pool.model.own_rows(self._pool.slots.read(self._seat.slot))

    def read_state(self) -> State:
        specs, names = self._pool.model.states, self._pool.model.state_names
        rows = zip(specs, self._read(), strict=True)
        return State.of(names, tuple([np.expand_dims(row, spec.dims.index("B")) for spec, row in rows]))

    def take_snapshot(self) -> bytes:
        return snapshot_from_state(self._read(), self._pool.spec)

    def restorer(self, data: bytes, any_weights: bool) -> Callable[[], None]:
        rows = state_from_snapshot(data, self._pool.spec, any_weights=any_weights)
        return lambda: self._pool.slots.write(self._seat.slot, *rows)

    def resetter(self, state: Mapping[str, Any] | None) -> Callable[[], None]:
        slots, slot = self._pool.slots, self._seat.slot
        if state is None:
            return lambda: slots.clear(slot)
        specs = self._pool.model.states
        parts = zip(specs, owned_parts(state, specs), strict=True)
        rows = [_on_host(part).take(0, spec.dims.index("B")) for spec, part in parts]
        return lambda: slots.write(slot, *rows)

    def call(self, function: Callable[[], Any], future: Any = None) -> Call:
        return Call(self._seat, self._pool.lock, function, future=future)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self._pool!r}>"


class PoolStream(Conversation):
    """One conversation in a pool, used from threads; its pushes run in the order they were made.

    `async with pool.open() as stream` gives one whose verbs are coroutines.
    """

    def push(self, x: Any, *, timeout_s: float | None = None) -> Any:
        """Push a frame such as `(I,)` or a chunk such as `(T, I)` and wait for its output, `(P,)` or `(T, P)`.

        Args:
            x: of the model's dtype, copied; of a model with several plain inputs a mapping, which gives a mapping.
            timeout_s: the longest time to wait for the output; the push is not applied when it is over.

        Raises:
            InputError: a wrong type, dtype or shape, or NaN or infinity where the pool rejects it.
            PoolOverloaded: as many pushes wait as may; nothing was queued.
            DeadlineExceeded: `timeout_s` is over.
            StepTimeout: the backend hangs.
            BackendError: the backend failed.
            StreamClosedError: the stream was closed or evicted.
            PoolClosedError: the pool was closed.
        """
        return self._pool.submit(self._seat, self.checked(x), timeout_s).result()

    def submit(
        self, x: Any, *, timeout_s: float | None = None, into: CompletionQueue | None = None, tag: Any = None
    ) -> Push:
        """Push without waiting: `submit(x).result()` is `push(x)`; errors of the input and the queue come at once.

        Args:
            x: as of `push`.
            timeout_s: as of `push`.
            into: a queue to put the push into once it is settled, for a thread that serves many streams.
            tag: anything to know the push by when it comes out of there, as `push.tag`.
        """
        return self._pool.submit(self._seat, self.checked(x), timeout_s, into, tag)

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


def _on_host(value: Part) -> Array:
    return value if isinstance(value, np.ndarray) else value.numpy()
