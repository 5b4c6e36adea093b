"""The phases of a build as TensorRT enters and leaves them, and the way to stop it."""

from threading import Event
from typing import Any

from rnnx.progress import ProgressListener, Silence


def monitor_for(trt: Any, listener: ProgressListener | None, cancelled: Event) -> Any:
    """A `trt.IProgressMonitor` that tells `listener`, and stops the build at the step after `cancelled` is set."""
    told = listener or Silence()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc] # the module is Any
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)  # pybind11 wants this call, not super()'s

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            if not cancelled.is_set():
                told.stage_started(name, steps, parent)

        def step_complete(self, name: str, step: int) -> bool:
            if cancelled.is_set():
                return False
            told.parts_done(name, step + 1)
            return True

        def phase_finish(self, name: str) -> None:
            if not cancelled.is_set():
                told.stage_finished(name)

    return Monitor()
