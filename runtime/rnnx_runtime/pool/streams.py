"""One conversation in a pool."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.array_views import array_from_view
from rnnx_runtime.errors import InputError
from rnnx_runtime.pool.completions import CompletionQueue
from rnnx_runtime.pool.lease import Lease
from rnnx_runtime.pool.requests import Call, Push
from rnnx_runtime.snapshot import snapshot_from_state, state_from_snapshot
from rnnx_runtime.state import State

if TYPE_CHECKING:
    from rnnx_runtime.pool.async_stream import AsyncPoolStream
    from rnnx_runtime.pool.stream_pool import StreamPool

Array = NDArray[Any]

_FLOAT32 = np.dtype(np.float32)
_all = np.logical_and.reduce  # what `ndarray.all` calls in the end


class Conversation:
    """What both kinds of streams share: the calls that run in the pool's thread, in order with the pushes."""

    def __init__(self, pool: "StreamPool", lease: Lease) -> None:
        self._pool = pool
        self._lease = lease
        self._seat = lease.seat
        self._inbox = pool.inbox
        self._frame = (pool.spec.input_size,)
        self._rejects = pool.options.nan == "reject"

    @property
    def name(self) -> str:
        """What errors, logs and `on_evict` call it."""
        return self._seat.name

    def close(self) -> None:
        """Give the slot back once the pushes before are done; does not wait, and closing twice is harmless."""
        self._pool.close_seat(self._seat)

    def checked(self, x: Any) -> Array:
        """A copy of x that the caller cannot change, checked as `push` says, where there is room for it."""
        inbox = self._inbox
        if inbox.pushes >= inbox.limit:
            self._pool.refuse_push()
        if not (type(x) is np.ndarray and x.dtype is _FLOAT32 and x.shape == self._frame):
            x = self._frames_of(x)
        elif self._rejects:
            self._refuse_not_finite(x)
        return x.copy()  # type: ignore[no-any-return]

    def _frames_of(self, x: Any) -> Array:
        width = self._frame[0]
        values = array_from_view(x, "input 'x'", f"a float32 frame ({width},) or chunk (T, {width})")
        if values.dtype != _FLOAT32 or values.ndim not in (1, 2) or values.shape[-1] != width or 0 in values.shape:
            raise InputError(
                "input 'x'",
                got=f"{values.dtype} {values.shape}",
                expected=f"a float32 frame ({width},) or chunk (T, {width})",
                remedy="cast it with .astype('float32')" if values.dtype != _FLOAT32 else "reshape it",
            )
        if self._rejects:
            self._refuse_not_finite(values)
        return values

    def _refuse_not_finite(self, x: Array) -> None:
        if not _all(np.isfinite(x), axis=None):
            raise InputError(
                "input 'x'",
                got="NaN or infinity in it",
                expected="finite numbers",
                remedy="mend the source, or make the pool with nan='propagate'",
            )

    def _read(self) -> tuple[Array, Array | None]:
        return self._pool.slots.read(self._seat.slot)

    def read_state(self) -> State:
        h, c = self._read()
        if self._pool.spec.form == "encoder":
            return State(h[:, None], None if c is None else c[:, None])
        return State(h, c)  # (1, H): the layer's axis is the batch of one row

    def take_snapshot(self) -> bytes:
        return snapshot_from_state(*self._read(), self._pool.spec)

    def restorer(self, data: bytes, any_weights: bool) -> Callable[[], None]:
        h, c = state_from_snapshot(data, self._pool.spec, any_weights=any_weights)
        return lambda: self._pool.slots.write(self._seat.slot, h, c)

    def resetter(self, state: State | None) -> Callable[[], None]:
        slots, slot = self._pool.slots, self._seat.slot
        if state is None:
            return lambda: slots.clear(slot)
        h, c = _one_row(state, self._pool.spec.form == "encoder", slots.shapes)
        return lambda: slots.write(slot, h, c)

    def call(self, function: Callable[[], Any], future: Any = None) -> Call:
        return Call(self._seat, self._pool.lock, function, future=future)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self._pool!r}>"


class PoolStream(Conversation):
    """One conversation in a pool, used from threads; its pushes run in the order they were made.

    `async with pool.open() as stream` gives one whose verbs are coroutines.
    """

    def push(self, x: Any, *, timeout_s: float | None = None) -> Array:
        """Push a frame `(I,)` or a chunk `(T, I)` and wait for its output, `(P,)` or `(T, P)`.

        Args:
            x: float32, copied.
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

    def reset(self, state: State | None = None) -> None:
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


def _one_row(state: Any, has_layers: bool, shapes: tuple[tuple[int, ...], ...]) -> tuple[Array, Array | None]:
    """The h `(L·D, P)` and c `(L·D, H)` of a state with B = 1."""
    if type(state) is not State:
        raise InputError("state", got=type(state).__name__, expected="a State", remedy="give State(h, c) or State(h)")
    parts = [part for part in (state.h, state.c) if part is not None]
    expected = [(shape[0], 1, shape[1]) if has_layers else shape for shape in shapes]
    if [part.shape for part in parts] != expected or any(part.dtype != _FLOAT32 for part in parts):
        raise InputError(
            "state",
            got=", ".join(f"{part.dtype} {part.shape}" for part in parts),
            expected=", ".join(f"float32 {shape}" for shape in expected),
            remedy="give the state of one stream, such as another stream's state",
        )
    h, *rest = (part.reshape(shape).copy() for part, shape in zip(parts, shapes, strict=True))
    return h, rest[0] if rest else None
