"""A bar for each phase of a build that is under way, on a terminal's stderr; nothing in a pipe."""

import contextlib
from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING

from rnnx_runtime.printable import shown

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from rnnx.engines.build_progress import PhaseListener

_LONGEST_NAME = 100
"""Characters of a phase's name, which may hold a layer's."""


@contextlib.contextmanager
def phase_bars() -> "Iterator[PhaseListener | None]":
    """A listener that draws bars while the block lasts, or None where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    # Steps done of steps planned, as TensorRT says them, and no percentage: one step can take nearly all the time.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield PhaseBars(progress)


class PhaseBars:
    """A listener that shows each open phase as one bar, indented under the phase it belongs to."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._open: dict[str, tuple[TaskID, int]] = {}
        self._lock = Lock()

    def phase_started(self, name: str, parent: str | None, steps: int) -> None:
        """Add a bar."""
        with self._lock:
            depth = self._open[parent][1] + 1 if parent in self._open else 0
            self._open[name] = (self._progress.add_task("  " * depth + shown(name, _LONGEST_NAME), total=steps), depth)

    def step_done(self, name: str, step: int) -> None:
        """Move a bar."""
        with self._lock:
            if name in self._open:
                self._progress.update(self._open[name][0], completed=step + 1)

    def phase_finished(self, name: str) -> None:
        """Take a bar away."""
        with self._lock:
            if name in self._open:
                self._progress.remove_task(self._open.pop(name)[0])
