"""Pushing a frame of each of many streams: one step at once where that may be, else each in its place in the line."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.errors import InputError, RnnxError
from rnnx_runtime.pool.conversation import Conversation, Pool
from rnnx_runtime.pool.many import GivenRows, ManyOutputs, stacked
from rnnx_runtime.pool.refusals import closed_stream
from rnnx_runtime.pool.requests import Given, Push, Seat, own_copy
from rnnx_runtime.pool.row_ends import time_first
from rnnx_runtime.pool.row_groups import RowGroups
from rnnx_runtime.pool.worker import Worker


class PushingMany:
    """One call of `StreamPool.push_many`."""

    def __init__(self, pool: Pool, streams: Sequence[Conversation], x: Any, groups: RowGroups) -> None:
        if len(streams) == 0:
            remedy = "leave the call out where no stream has a frame"
            raise InputError("push_many", got="no streams", expected="at least one", remedy=remedy)
        self._pool = pool
        layout = pool.model.layout
        rejects = pool.options.nan == "reject"
        self._given = GivenRows(x, len(streams), layout, pool.spec, rejects_nan=rejects)
        self._errors: dict[int, RnnxError] = self._given.errors
        self._seats: dict[int, Seat] = {}
        """Of the rows that may run; empty where a group stands for them."""
        self._group = groups.known(streams)
        if self._group is None or self._errors:
            self._look_at(streams, groups, pool.inbox.epoch)

    def _look_at(self, streams: Sequence[Conversation], groups: RowGroups, epoch: object) -> None:
        for row, stream in enumerate(streams):
            if row not in self._errors:
                self._take_in(row, stream)
        seats = self._seats.values()
        is_one_step = 0 < len(seats) <= self._pool.options.max_batch and len(set(seats)) == len(seats)
        is_one_step = is_one_step and not any(seat.is_over for seat in seats)  # the line knows whether a reset waits
        self._group = groups.remember(seats, epoch) if is_one_step else None

    def _take_in(self, row: int, stream: Any) -> None:
        if not isinstance(stream, Conversation) or stream.pool is not self._pool:
            got = f"{stream!r}" if isinstance(stream, Conversation) else type(stream).__name__
            self._errors[row] = InputError(
                f"stream of row {row}", got=got, expected="a stream of this pool", remedy="give what pool.open gave"
            )
        elif stream.seat.is_leaving or stream.seat.is_closed:
            self._errors[row] = closed_stream(stream.seat)
        else:
            self._seats[row] = stream.seat

    @property
    def may_run_directly(self) -> bool:
        """Whether the rows fit one step: each of another stream, and no more than a step may hold."""
        return self._group is not None and self._pool.model.ends.is_plain

    def run_directly(self, leader: Worker) -> ManyOutputs | None:
        """Run the rows as one step in this thread; None where they must go into the line."""
        assert self._group is not None
        rows: Sequence[int] = [*self._seats] or range(len(self._group.seats))
        try:
            outputs = leader.run_directly(self._group, self._given.picked(rows))
        except RnnxError as error:
            self._errors |= {row: own_copy(error) for row in rows}
            return self.wait([])
        if outputs is None:
            return None
        return self._result(rows, outputs if self._given.is_by_name else next(iter(outputs.values())))

    def queue(self, timeout_s: float | None) -> list[tuple[int, Push]]:
        """Queue each row as a push of its stream, in order; one that is refused refuses itself alone."""
        pushes = []
        seats = self._seats or dict(enumerate(self._group.seats if self._group else ()))
        for row, seat in seats.items():
            try:
                pushes.append((row, self._pool.submit(seat, self._row(row), timeout_s)))
            except RnnxError as error:
                self._errors[row] = error
        return pushes

    def _row(self, row: int) -> Given:
        values = {name: value[row, ...] for name, value in self._given.values.items()}
        model, by_name = self._pool.model, self._given.is_by_name
        if model.ends.is_plain:
            return tuple([value.copy() for value in values.values()]), 0, by_name, None
        is_chunk = model.ends.multiple > 1
        return time_first([*model.layout.as_chunk(values, is_chunk).values()], model.layout), 1, by_name, None

    def wait(self, pushes: list[tuple[int, Push]]) -> ManyOutputs:
        """Wait for queued rows."""
        outputs: dict[int, Any] = {}
        for row, push in pushes:
            try:
                outputs[row] = push.result()
            except RnnxError as error:
                self._errors[row] = error
        specs = self._pool.spec.plain_outputs
        is_plain, by_name = self._pool.model.ends.is_plain, self._given.is_by_name
        return self._result([*outputs], stacked(outputs.values(), by_name=by_name, specs=specs, is_plain=is_plain))

    def _result(self, rows: Sequence[int], values: Any) -> ManyOutputs:
        ran: Array = np.arange(len(rows)) if type(rows) is range else np.array(rows, np.int64)
        return ManyOutputs(ran=ran, values=values, errors=dict(sorted(self._errors.items())))
