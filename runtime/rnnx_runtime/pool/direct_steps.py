"""Steps whose rows are there at once: from the slots into bound buffers, and back."""

from collections.abc import Mapping

from rnnx_runtime.array_type import Array
from rnnx_runtime.bound_step import BoundStep
from rnnx_runtime.pool.batched_model import BatchedModel
from rnnx_runtime.pool.row_groups import RowGroup
from rnnx_runtime.pool.slots import Parts, Slots
from rnnx_runtime.state import State

_MOST_BOUND = 8
"""Numbers of rows whose steps stay bound; each holds its inputs, outputs and states twice."""


class DirectSteps:
    """Runs one frame of each of some slots; for whoever has the pool's turn.

    `run` changes no slot, and `keep` takes over what it left, so that a step which failed or came too late leaves no
    trace. A step of as many rows as before, of the same shapes, runs on buffers that are bound.
    """

    def __init__(self, model: BatchedModel, slots: Slots) -> None:
        self._session, self._slots = model.session, slots
        self._bound: dict[int, tuple[BoundStep, dict[int, Parts]]] = {}
        """By the number of rows; with each the parts of its states as the slots copy them, by their buffers."""
        self._seen: set[int] = set()
        self._is_bindable = True
        self._left: State | Parts | None = None

    def run(self, group: RowGroup, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs `(B, …)` by name for inputs `(B, …)`, a row for each seat; raises what a step raises."""
        rows = len(group.slots)
        bound, parts = self._bound.get(rows, (None, {}))
        if bound is None or not bound.fits(inputs):
            outputs, left = self._session.step(inputs, self._slots.gather(group.slots))
            self._left = left
            if self._is_bindable:
                self._bind_again(rows, inputs, left)
            return dict(outputs)
        self._slots.read_into(group, parts[id(bound.parts)])
        outputs = bound.run(inputs)
        self._left = parts[id(bound.parts)]
        return {name: value.copy() for name, value in outputs.items()}

    def keep(self, group: RowGroup) -> None:
        """Take over the states that the last run left, for the same group."""
        left, self._left = self._left, None
        assert left is not None
        if type(left) is tuple:
            self._slots.write_from(group, left)  # its buffers are the next run's
        else:
            self._slots.scatter(group.slots, left)  # type: ignore[arg-type] # mypy does not see through `type`

    def _bind_again(self, rows: int, inputs: Mapping[str, Array], state: State) -> None:
        """Bind the next step of so many rows, if there was one before."""
        if rows not in self._seen:
            self._seen.add(rows)
            return
        if len(self._bound) >= _MOST_BOUND:
            self._bound.clear()
            self._seen = {rows}
        bound = self._session.bound_step(inputs, state)
        if bound is None:
            self._is_bindable = False
        else:
            self._bound[rows] = bound, {id(own): self._slots.parts_of(own, rows) for own in bound.both_parts}
