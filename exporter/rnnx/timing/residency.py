"""Device-resident calls: inputs and outputs stay in a GPU's memory, and the time is the device's own."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from rnnx.runners.candidates import Candidate
from rnnx.timing.stopwatch import Measure
from rnnx_runtime.array_type import Array


@runtime_checkable
class ResidentCandidate(Protocol):
    """A candidate that may run on a device of its own memory."""

    def prepare_on_device(self, feeds: Mapping[str, Array]) -> Measure | None:
        """A call over inputs that already lie on the device, its outputs left there, that says its time in ms.

        The call returns after the device is done. None where the candidate runs in host memory.
        """


def resident_measure(candidate: Candidate, feeds: Mapping[str, Array]) -> Measure | None:
    """The candidate's device-resident call; None where it has no memory but the host's."""
    return candidate.prepare_on_device(feeds) if isinstance(candidate, ResidentCandidate) else None
