"""A bar for each stage of a long call that is under way, on a terminal's stderr; nothing in a pipe."""

import contextlib
from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING

from rnnx.progress import ProgressListener, Silence
from rnnx_runtime.printable import shown

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LONGEST_NAME = 100
"""Characters of a stage's name, which may hold a layer's."""


@contextlib.contextmanager
def progress_bars() -> Iterator[ProgressListener]:
    """A listener that draws bars while the block lasts, or a silent one where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Silence()
        return
    # Parts done of parts planned, and no percentage: one part of an engine's build can take nearly all the time.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield ProgressBars(progress)


class ProgressBars:
    """A listener that shows each open stage as one bar, indented under the stage it belongs to."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._open: dict[str, tuple[TaskID, int]] = {}
        self._lock = Lock()

    def stage_started(self, name: str, total: int, parent: str | None = None) -> None:
        """Add a bar."""
        with self._lock:
            depth = self._open[parent][1] + 1 if parent in self._open else 0
            self._open[name] = (self._progress.add_task("  " * depth + shown(name, _LONGEST_NAME), total=total), depth)

    def parts_done(self, name: str, count: int) -> None:
        """Move a bar."""
        with self._lock:
            if name in self._open:
                self._progress.update(self._open[name][0], completed=count)

    def stage_finished(self, name: str) -> None:
        """Take a bar away."""
        with self._lock:
            if name in self._open:
                self._progress.remove_task(self._open.pop(name)[0])
