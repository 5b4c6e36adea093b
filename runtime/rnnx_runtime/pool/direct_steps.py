"""Steps whose rows are there at once: from the slots into bound buffers, and back."""

from collections.abc import Mapping

from rnnx_runtime.array_type import Array
from rnnx_runtime.bound_step import BoundStep
from rnnx_runtime.pool.batched_model import BatchedModel
from rnnx_runtime.pool.slots import Slots
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
        self._bound: dict[int, BoundStep] = {}
        self._seen: set[int] = set()
        self._is_bindable = True
        self._left: State | None = None

    def run(self, slots: list[int], inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs `(B, …)` by name for inputs `(B, …)`, a row for each slot; raises what a step raises."""
        rows = len(slots)
        bound = self._bound.get(rows)
        if bound is None or any(inputs[name].shape != shape for name, shape in bound.shapes.items()):
            outputs: dict[str, Array]
            outputs, self._left = self._session.step(inputs, self._slots.gather(slots))
            if self._is_bindable:
                self._bind_again(rows, inputs, self._left)
            return outputs
        self._slots.read_into(slots, bound.state)
        outputs = bound.run(inputs)
        self._left = bound.state
        return {name: value.copy() for name, value in outputs.items()}

    def keep(self, slots: list[int]) -> None:
        """Take over the states that the last run left, for the same slots."""
        assert self._left is not None
        if len(slots) in self._bound:
            self._slots.write_from(slots, self._left)  # its buffers are the next run's
        else:
            self._slots.scatter(slots, self._left)
        self._left = None

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
            self._bound[rows] = bound
