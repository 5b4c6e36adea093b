"""What both kinds of a pool's streams share, for threads and for an event loop."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.stream_ends import last_chunk
from rnnx_runtime.arrays.table_lookups import check_lookups
from rnnx_runtime.contract import Contract
from rnnx_runtime.pool.batched_model import BatchedModel
from rnnx_runtime.pool.inbox import Inbox
from rnnx_runtime.pool.lease import Lease
from rnnx_runtime.pool.many import not_finite
from rnnx_runtime.pool.options import PoolOptions
from rnnx_runtime.pool.requests import Call, Given, Push, Seat
from rnnx_runtime.pool.row_ends import time_first
from rnnx_runtime.pool.slots import Slots
from rnnx_runtime.snapshot import snapshot_from_state, state_from_snapshot
from rnnx_runtime.state import State, on_host, state_of
from rnnx_runtime.stream import ended, owned_parts


class Pool(Protocol):
    """What a conversation needs of its pool."""

    options: PoolOptions

    @property
    def spec(self) -> Contract:
        """The contract of the model that runs now."""

    @property
    def model(self) -> BatchedModel:
        """The model that runs now, as a pool sees it."""

    @property
    def inbox(self) -> Inbox:
        """Where the streams' requests go in."""

    @property
    def lock(self) -> Any:
        """The lock under which requests change."""

    @property
    def slots(self) -> Slots:
        """The states; for calls within the pool's thread alone."""

    def refuse_push(self) -> None:
        """Refuse a push that there is no room for."""

    def submit(self, seat: Seat, given: Given, timeout_s: float | None, future: Any = None, tag: Any = None) -> Push:
        """Queue a push of checked frames."""

    def push(self, seat: Seat, given: Given, timeout_s: float | None) -> Any:
        """Queue a push of checked frames and wait for its output."""

    def post(self, call: Call) -> None:
        """Queue a call."""

    def ask(self, call: Call, timeout_s: float | None = None) -> Any:
        """Queue a call and wait for what it gives, for so long at most."""

    def close_seat(self, seat: Seat) -> None:
        """Free a stream's slot once its pushes are done."""


class Conversation:
    """What both kinds of streams share: the calls that run in the pool's thread, in order with the pushes."""

    def __init__(self, pool: Pool, lease: Lease) -> None:
        self._pool = self.pool = pool
        self._lease = lease
        self._seat = self.seat = lease.seat
        self._inbox = pool.inbox
        self._layout = layout = pool.model.layout
        self._ends = pool.model.ends
        lone = layout.lone if layout.lone_output and self._ends.is_plain else None
        self._tables = tuple(pool.spec.table_sizes.items())
        # A frame whose dims are symbols equals no shape, and is looked at in full, as are values of a table's rows.
        self._frame = None if lone is None or self._tables else lone.frame_dims
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
            return (x.copy(),), 0, False, None
        return self._looked_at(x)

    def checked_last(self, x: Any) -> Given | None:
        """As `checked`, of a sequence's last chunk; None where nothing is left to run."""
        if self._inbox.pushes >= self._inbox.limit:
            self._pool.refuse_push()
        layout, frames = self._layout, 0
        values: dict[str, Array] | None
        if not self._ends.is_plain:
            values, steps, frames = last_chunk(x, layout, self._ends.ends)
        elif x is not None:
            values = layout.last_frames(x)
            steps = layout.count(values)
        else:
            return None
        if values is None or steps == 0:
            return None
        self._refuse_values(values)
        return time_first([*values.values()], layout), steps, self.is_by_name(x), frames

    def is_by_name(self, x: Any) -> bool:
        """Whether what is pushed so gives its outputs by name."""
        return isinstance(x, Mapping) or self._layout.lone_output is None

    def _looked_at(self, x: Any) -> Given:
        values, is_chunk = self._layout.checked(x)
        self._refuse_values(values)
        by_name = self.is_by_name(x)
        if not self._ends.is_plain:
            values, is_chunk = self._layout.as_chunk(values, is_chunk), True
        if not is_chunk:
            return tuple([value.copy() for value in values.values()]), 0, by_name, None
        return time_first([*values.values()], self._layout), self._layout.count(values), by_name, None

    def _refuse_values(self, values: Mapping[str, Array]) -> None:
        if self._rejects:
            for name, value in values.items():
                if value.dtype.kind == "f":
                    self._refuse_not_finite(value, name)
        for name, rows in self._tables:
            check_lookups(name, values.get(name), rows)

    def _refuse_not_finite(self, x: Array, name: str | None) -> None:
        if np.count_nonzero(np.isfinite(x)) != x.size:  # half the time of `all`
            raise not_finite(name or next(iter(self._layout.inputs)))

    def _read(self) -> tuple[Array, ...]:
        return self._pool.model.own_rows(self._pool.slots.read(self._seat.slot))

    def read_state(self) -> State:
        specs, names = self._pool.model.states, self._pool.model.state_names
        rows = zip(specs, self._read(), strict=True)
        return state_of(names, tuple([np.expand_dims(row, spec.dims.index("B")) for spec, row in rows]))

    def take_snapshot(self) -> bytes:
        return snapshot_from_state(self._read(), self._pool.spec)

    def restorer(self, data: bytes, any_weights: bool) -> Callable[[], None]:
        rows = state_from_snapshot(data, self._pool.spec, any_weights=any_weights)
        return lambda: self._begin_from(rows)

    def resetter(self, state: Mapping[str, Any] | None) -> Callable[[], None]:
        if state is None:
            return self._begin
        specs = self._pool.model.states
        parts = zip(specs, owned_parts(state, specs), strict=True)
        rows = [on_host(part).take(0, spec.dims.index("B")) for spec, part in parts]
        return lambda: self._begin_from(rows)

    def _begin(self) -> None:
        self._pool.slots.clear(self._seat.slot)
        self._seat.is_over = False

    def _begin_from(self, rows: Sequence[Array]) -> None:
        self._pool.slots.write(self._seat.slot, *rows)
        self._seat.is_over = self._pool.model.is_over(rows)
        self._inbox.epoch = object()

    def ender(self) -> Callable[[], dict[str, Array]]:
        """Ends a sequence of which nothing is left to run; gives outputs without a frame."""

        def end() -> dict[str, Array]:
            if self._seat.is_over:
                raise ended(f"stream {self.name!r}")
            self._seat.is_over = True
            self._inbox.epoch = object()
            return self._layout.nothing()

        return end

    def call(self, function: Callable[[], Any], future: Any = None) -> Call:
        return Call(self._seat, self._pool.lock, function, future=future)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self._pool!r}>"
