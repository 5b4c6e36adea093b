"""Loops: recurrences, iterators, trip limits and loop outputs, run step after step.

https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-with-loops.html
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rnnx.tensorrt_network.layers import Layer, Tensor
from rnnx.tensorrt_network.steps import Step, Values, leading_steps, run_steps
from rnnx.tensorrt_network.structure import Loop
from rnnx_runtime.array_type import Array
from rnnx_runtime.errors import BackendError

Place = Callable[[Tensor | None], int]
"""From a tensor to its place among the values."""


@dataclass(frozen=True, kw_only=True)
class Recurrence:
    """A value that a loop carries from step to step: where the first one is, where the next, where the current."""

    first: int
    following: int
    current: int


@dataclass(frozen=True, kw_only=True)
class Iterator:
    """A tensor that a loop goes through along an axis, from its start or back from the last step's place."""

    source: int
    current: int
    axis: int
    backwards: bool

    def series(self, values: Values, trips: int | None) -> Array:
        """What it gives at each step, along the first axis."""
        along: Array = np.moveaxis(values[self.source], self.axis, 0)
        if trips is not None and len(along) < trips:
            raise ValueError(f"{trips} steps over an axis of size {len(along)}")
        return along[:trips][::-1] if self.backwards else along


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A loop output that joins a value of each step along a new axis, whose length is given beforehand."""

    subject: str
    source: int
    target: int
    length: int
    axis: int
    backwards: bool

    def join(self, parts: list[Array], length: int) -> Array:
        """The output from the values of all steps; what no step wrote TensorRT leaves as it finds the memory.

        Raises:
            BackendError: there are not as many steps as it is long, or there is none.
        """
        if len(parts) != length or not parts:
            raise BackendError(
                self.subject,
                got=f"values of {len(parts)} steps",
                expected=str(length or "at least one"),
                remedy="give the loop a trip limit alone, and no condition that ends it early",
            )
        return np.stack(parts[::-1] if self.backwards else parts, self.axis)


@dataclass(frozen=True, kw_only=True)
class LoopRun:
    """A loop as places among the values; a trip limit that it has not is None.

    `checks` are the steps that lead to the condition, `body` all others.
    """

    count: int | None
    condition: int | None
    recurrences: tuple[Recurrence, ...]
    iterators: tuple[Iterator, ...]
    collections: tuple[Collection, ...]
    last_values: tuple[tuple[int, int], ...]
    checks: tuple[Step, ...]
    body: tuple[Step, ...]

    def __call__(self, values: Values) -> None:
        """Run all steps and write the loop's outputs."""
        trips = None if self.count is None else int(values[self.count])
        series = [(iterator.current, iterator.series(values, trips)) for iterator in self.iterators]
        parts: list[list[Array]] = [[] for _ in self.collections]
        for recurrence in self.recurrences:
            values[recurrence.current] = values[recurrence.first]
        step = 0
        while (trips is None or step < trips) and self._continues(values):
            for current, along in series:
                values[current] = along[step]
            run_steps(self.body, values)
            for collection, collected in zip(self.collections, parts, strict=True):
                collected.append(values[collection.source])
            self._advance(values)
            step += 1
        self._finish(values, parts)

    def _continues(self, values: Values) -> bool:
        run_steps(self.checks, values)
        return self.condition is None or bool(values[self.condition])

    def _advance(self, values: Values) -> None:
        following = [values[recurrence.following] for recurrence in self.recurrences]  # one may be another's current
        for recurrence, value in zip(self.recurrences, following, strict=True):
            values[recurrence.current] = value

    def _finish(self, values: Values, parts: list[list[Array]]) -> None:
        for source, target in self.last_values:
            values[target] = values[source]
        for collection, collected in zip(self.collections, parts, strict=True):
            values[collection.target] = collection.join(collected, int(values[collection.length]))


def compile_loop(loop: Loop, place: Place, body: Sequence[Step]) -> LoopRun:
    """A loop whose body is compiled already.

    Raises:
        BackendUnavailable: an output is of a kind that is not known.
    """
    condition = _limit(loop, place, "WHILE")
    checks = () if condition is None else leading_steps(body, condition)
    outputs = loop.of_kind("LOOP_OUTPUT")
    last_values = [layer for layer in outputs if layer.native.kind.name == "LAST_VALUE"]
    return LoopRun(
        count=_limit(loop, place, "COUNT"),
        condition=condition,
        recurrences=tuple(_recurrence(layer, place) for layer in loop.of_kind("RECURRENCE")),
        iterators=tuple(_iterator(layer, place) for layer in loop.of_kind("ITERATOR")),
        collections=tuple(_collection(layer, place) for layer in outputs if layer not in last_values),
        last_values=tuple(_last_value(layer, place, loop) for layer in last_values),
        checks=checks,
        body=tuple(step for step in body if step not in checks),
    )


def _limit(loop: Loop, place: Place, kind: str) -> int | None:
    return next(
        (place(layer.inputs[0]) for layer in loop.of_kind("TRIP_LIMIT") if layer.native.kind.name == kind), None
    )


def _recurrence(layer: Layer, place: Place) -> Recurrence:
    first, following = map(place, layer.inputs)
    return Recurrence(first=first, following=following, current=place(layer.outputs[0]))


def _iterator(layer: Layer, place: Place) -> Iterator:
    return Iterator(
        source=place(layer.inputs[0]),
        current=place(layer.outputs[0]),
        axis=int(layer.native.axis),
        backwards=bool(layer.native.reverse),
    )


def _collection(layer: Layer, place: Place) -> Collection:
    if layer.native.kind.name not in ("CONCATENATE", "REVERSE"):
        raise layer.unsupported(f"kind {layer.native.kind.name}")
    source, length = map(place, layer.inputs)
    return Collection(
        subject=layer.subject,
        source=source,
        target=place(layer.outputs[0]),
        length=length,
        axis=int(layer.native.axis),
        backwards=layer.native.kind.name == "REVERSE",
    )


def _last_value(layer: Layer, place: Place, loop: Loop) -> tuple[int, int]:
    """Where a recurrence's value after the last step is, and where it goes."""
    if not layer.reads <= frozenset().union(*(recurrence.writes for recurrence in loop.of_kind("RECURRENCE"))):
        raise layer.unsupported("the last value of what is no recurrence")
    return place(layer.inputs[0]), place(layer.outputs[0])
