"""A backend asked with inputs of the diagnosis's own choice; whatever it raises is kept as what it said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rnnx.runners.candidates import Candidate
from rnnx.truths.cases import Case
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import shape_from_sizes, sizes_from_feeds
from rnnx_runtime.contract import Recurrence, TensorSpec


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a backend gave for one case, or why it gave nothing."""

    values: Mapping[str, Array]
    failure: str = ""

    def __bool__(self) -> bool:
        return not self.failure


class Prober:
    """A candidate that never raises. `batch` is the largest batch that it is known to take."""

    def __init__(self, candidate: Candidate, contract: Recurrence, outputs: Sequence[TensorSpec], batch: int) -> None:
        self.contract = contract
        self.outputs = outputs
        self._candidate = candidate
        self._batch = batch

    def ask(self, feeds: Mapping[str, Array]) -> Answer:
        """One call."""
        try:
            values = self._candidate.outputs(Case(name="probe", feeds=feeds))
        except Exception as error:  # a backend that breaks on a probe is evidence, whatever it raises
            return Answer(values={}, failure=str(error) or type(error).__name__)
        missing = [spec.name for spec in self.outputs if spec.name not in values]
        return Answer(values=values, failure=f"no output {missing[0]}" if missing else "")

    def ask_rows(self, feeds: Mapping[str, Array]) -> Answer:
        """A batch of any size: in one call or, where that fails, in calls of the batch that is known to work."""
        whole = self._ask_whole(feeds)
        rows = feeds["x"].shape[self.contract.inputs[0].dims.index("B")]
        if whole or rows <= self._batch:
            return whole
        parts = [self._ask_whole(self._rows(feeds, start, rows)) for start in range(0, rows, self._batch)]
        failed = [part for part in parts if not part]
        return failed[0] if failed else Answer(values=self._joined([part.values for part in parts], rows))

    def _ask_whole(self, feeds: Mapping[str, Array]) -> Answer:
        """One call whose results have the contract's shapes, or it failed."""
        answer, sizes = self.ask(feeds), sizes_from_feeds(self.contract.inputs, feeds)
        for spec in self.outputs if answer else ():
            shape = shape_from_sizes(spec, sizes)
            if answer.values[spec.name].shape != shape:
                return Answer(values={}, failure=f"{spec.name} is {answer.values[spec.name].shape}, not {shape}")
        return answer

    def _rows(self, feeds: Mapping[str, Array], start: int, rows: int) -> dict[str, Array]:
        """Rows from `start` on, as many as a call takes; past the last come the first again."""
        chosen = np.arange(start, start + self._batch) % rows
        specs = {spec.name: spec for spec in self.contract.inputs}
        return {
            name: np.ascontiguousarray(value.take(chosen, specs[name].dims.index("B"))) for name, value in feeds.items()
        }

    def _joined(self, parts: Sequence[Mapping[str, Array]], rows: int) -> dict[str, Array]:
        joined = {}
        for spec in self.outputs:
            axis = spec.dims.index("B")
            joined[spec.name] = np.concatenate([part[spec.name] for part in parts], axis).take(range(rows), axis)
        return joined
