"""A foreign file run under the names that its contract will have, in a process of its own, and what came of it."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rnnx.adopting.file_session import MEASURED, ROUNDED, FileSession
from rnnx.runners.isolated_candidate import IsolatedCandidate
from rnnx.truths.cases import Case
from rnnx_runtime.array_type import Array
from rnnx_runtime.files.model_file import OnnxFile

_MOST_DEATHS = 20
"""How often a file may end its process: sizes that it does not take can do that, one after the other."""

_LONGEST_S = 8.0
"""Seconds for the opening and for each call: a recurrence without an end must not keep the caller."""

_BYTES_A_SECOND = 2**25
"""How fast a file is sent to its process, opened and run, on a slow host."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Run:
    """The shapes of one call."""

    inputs: Shapes
    outputs: Shapes


class ForeignRuns:
    """A file that can be called; `name` is what runs it and `seen` the shapes of all calls that gave a result."""

    name = "ONNX Runtime"

    def __init__(self, file: OnnxFile, theirs: Mapping[str, str], outputs: Sequence[str]) -> None:
        """Open the file in a process; `theirs` has the graph's name of each input and output.

        Raises:
            BackendUnavailable, BackendError: as `FileSession`.
            RowDiedError: the process died of the file, or it does not open in time.
        """
        self.seen: list[Run] = []
        opener = functools.partial(FileSession, file, dict(theirs), tuple(outputs))
        self._opened = functools.partial(IsolatedCandidate, opener, _LONGEST_S + len(file.data) // _BYTES_A_SECOND)
        self._candidate = self._opened()
        self._deaths = 0

    def outputs(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Every output by name.

        Raises:
            BackendError: ONNX Runtime refused the inputs, or failed.
            RowDiedError: its process died, or gave no answer in time.
        """
        found = self._called(Case(name="", feeds=feeds))
        self.seen.append(Run(inputs=_shapes(feeds), outputs=_shapes(found)))
        return found

    def measured(self, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """The outputs, and what rounding alone can make of them; raises as `outputs`."""
        found = self._called(Case(name=MEASURED, feeds=feeds))
        values = {name: value for name, value in found.items() if ROUNDED.format(name) in found}
        return values, {name: found[ROUNDED.format(name)] for name in values}

    def _called(self, case: Case) -> dict[str, Array]:
        if self._candidate.deaths and self._deaths < _MOST_DEATHS:
            self._deaths += 1
            self._candidate.close()
            self._candidate = self._opened()
        return self._candidate.outputs(case)

    def close(self) -> None:
        """End the process."""
        self._candidate.close()


def _shapes(arrays: Mapping[str, Array]) -> Shapes:
    return {name: value.shape for name, value in arrays.items()}
