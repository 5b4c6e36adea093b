"""A bar for the stage of a long call that is under way, on a terminal's stderr; nothing in a pipe."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rnnx.progress import ProgressListener, Silence

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@contextlib.contextmanager
def progress_bars() -> Iterator[ProgressListener]:
    """A listener that draws a bar while the block lasts, or a silent one where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Silence()
        return
    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield ProgressBars(progress)


class ProgressBars:
    """A listener that shows the current stage as one bar."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def stage_started(self, name: str, total: int) -> None:
        """Show a bar."""
        self._task = self._progress.add_task(name, total=total)

    def part_done(self) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.advance(self._task)

    def stage_finished(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
