"""A batch of sequences of different lengths, run in parts of time that leave out the rows which have ended."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.backends.table import Backend
from rnnx_runtime.contract import Contract

Part = tuple[int, int, int]
"""The first time step of a part, the one after its last, and how many of the longest rows go on in it."""

_LEAST_ROWS, _LEAST_UNITS = 32, 2048
"""Rows, and rows times hidden units, from which on it can pay: a small step costs about as much with half its rows."""

_MOST_PARTS, _FEWEST = 6, 4
"""Parts of a batch, and rows of a part: ONNX Runtime rounds a matrix of one row otherwise."""

_PAYS = 0.75
"""The most of the cells of the whole batch that may be left to compute for the parts to pay."""


class RaggedRuns:
    """Runs of a layer with lengths; the values are those of one run, bit for bit, and padding is zeros as there.

    The rows are sorted by length, and each part of time runs those that go on, from the states that the part before
    left. A layer with a backward direction has no such parts, for it begins at each row's end.
    """

    def __init__(self, contract: Contract) -> None:
        bare = contract.bare
        names = [spec.name for spec in contract.plain_inputs]
        self.is_possible = (
            bare is not None
            and bare.form == "encoder"
            and bare.directions == 1
            and bool(contract.states)
            and len(contract.lengths) == len(names) == len(contract.plain_outputs) == 1
        )
        if not self.is_possible:
            return
        assert bare is not None
        self._least = max(_LEAST_ROWS, -(-_LEAST_UNITS // bare.hidden_size))
        (self._lengths,), (self._x,) = contract.lengths, names
        self._pairs = tuple((pair.input, pair.output) for pair in contract.states)
        self._outputs = contract.outputs
        self._y = contract.plain_outputs[0]
        self._is_batch_first = self._y.dims.index("B") == 0
        self._batch_axes = {spec.name: spec.dims.index("B") for spec in (*contract.inputs, *contract.outputs)}

    def parts(self, feeds: Mapping[str, Any]) -> list[Part]:
        """The parts of a run, longest rows first; empty where one run takes no longer, or the arrays are elsewhere."""
        lengths = feeds.get(self._lengths) if self.is_possible else None
        if lengths is None or len(lengths) < self._least:
            return []
        longest = int(lengths.max())
        if lengths.sum() > _PAYS * longest * len(lengths) or not all(type(own) is np.ndarray for own in feeds.values()):
            return []
        found = _parts(np.sort(lengths))
        cells = sum((stop - start) * rows for start, stop, rows in found)
        return found if cells <= _PAYS * longest * len(lengths) else []

    def run(self, feeds: Mapping[str, Any], parts: Sequence[Part], backend: Backend) -> list[Any]:
        """The values of one run of these feeds, in the contract's order."""
        lengths = feeds[self._lengths]
        order = np.argsort(-lengths, kind="stable")
        found = {pair[1]: np.empty_like(feeds[pair[0]]) for pair in self._pairs}
        states = {name: feeds[name].take(order, axis=self._batch_axes[name]) for name, _ in self._pairs}
        x, y = self._time_first(feeds[self._x]), None
        for start, stop, rows in parts:
            alive = order[:rows]
            frames = x[start:stop].take(alive, axis=1)
            part = {self._x: self._as_given(frames), self._lengths: np.minimum(lengths[alive] - start, stop - start)}
            part |= {name: value.take(range(rows), axis=self._batch_axes[name]) for name, value in states.items()}
            ran: list[Any] = backend.run(part)
            values = dict(zip([spec.name for spec in self._outputs], ran, strict=True))
            own = self._time_first(values[self._y.name])
            if y is None:
                y = np.zeros((*x.shape[:2], *own.shape[2:]), own.dtype)
            y[start:stop, alive] = own
            for name, output in self._pairs:
                states[name] = values[output]
                found[output][_at(self._batch_axes[output], alive)] = values[output]
        assert y is not None  # there is a part
        found[self._y.name] = self._as_given(y)
        return [found[spec.name] for spec in self._outputs]

    def _time_first(self, value: Array) -> Array:
        return value.swapaxes(0, 1) if self._is_batch_first else value

    def _as_given(self, value: Array) -> Array:
        return np.ascontiguousarray(value.swapaxes(0, 1)) if self._is_batch_first else value


def _parts(lengths: Array) -> list[Part]:
    """Parts between lengths of the batch, evenly many rows ending in each; `lengths` in rising order."""
    ends = lengths[np.linspace(0, len(lengths) - 1, _MOST_PARTS + 1).round().astype(int)[1:]]
    times = [0, *np.unique(ends).tolist()]
    found = [(start, stop, int((lengths > start).sum())) for start, stop in pairwise(times)]
    while len(found) > 1 and found[-1][2] < _FEWEST:
        (start, _, rows), (_, stop, _) = found[-2:]
        found[-2:] = [(start, stop, rows)]
    return found


def _at(axis: int, index: Array) -> tuple[Any, ...]:
    return (slice(None),) * axis + (index,)
