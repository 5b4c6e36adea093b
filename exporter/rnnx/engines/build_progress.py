"""The phases of a build as TensorRT enters and leaves them, and the way to stop it."""

from threading import Event
from typing import Any, Protocol


class PhaseListener(Protocol):
    """What is told about a build's phases, from TensorRT's threads; it must not raise.

    Phases nest. Nearly all time can fall in one step of one phase, so steps done are no measure of time left.
    """

    def phase_started(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of `steps` steps began inside the phase `parent`."""

    def step_done(self, name: str, step: int) -> None:
        """Step number `step`, counted from 0, of the phase is done."""

    def phase_finished(self, name: str) -> None:
        """The phase is over, also when the build was stopped."""


class _Silence:
    """A listener that does nothing, for the builds nobody watches."""

    def phase_started(self, name: str, parent: str | None, steps: int) -> None: ...

    def step_done(self, name: str, step: int) -> None: ...

    def phase_finished(self, name: str) -> None: ...


def monitor_for(trt: Any, listener: PhaseListener | None, cancelled: Event) -> Any:
    """A `trt.IProgressMonitor` that tells `listener`, and stops the build at the step after `cancelled` is set."""
    told = listener or _Silence()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc] # the module is Any
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)  # pybind11 wants this call, not super()'s

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            if not cancelled.is_set():
                told.phase_started(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            if cancelled.is_set():
                return False
            told.step_done(name, step)
            return True

        def phase_finish(self, name: str) -> None:
            if not cancelled.is_set():
                told.phase_finished(name)

    return Monitor()
