"""A candidate in this process whose time is counted."""

import time
from collections.abc import Callable, Mapping

from rnnx.runners.candidates import Candidate
from rnnx.truths.cases import Case
from rnnx_runtime.array_type import Array


class MeteredCandidate:
    """A `Candidate` that adds up in `busy_s` how long its library was at work, opening and answering."""

    deaths = 0
    """It runs in this process, whose death nobody would count."""

    def __init__(self, opener: Callable[[], Candidate]) -> None:
        """Open the candidate; raises as the opener."""
        start = time.perf_counter()
        self._candidate = opener()
        self.busy_s = time.perf_counter() - start
        self.name, self.device = self._candidate.name, self._candidate.device

    def outputs(self, case: Case) -> dict[str, Array]:
        """The candidate's outputs of one case."""
        start = time.perf_counter()
        try:
            return self._candidate.outputs(case)
        finally:
            self.busy_s += time.perf_counter() - start

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """The candidate's prepared call."""
        return self._candidate.prepare(feeds)

    def close(self) -> None:
        """Close the candidate."""
        self._candidate.close()
