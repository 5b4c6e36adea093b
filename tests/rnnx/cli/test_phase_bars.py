import io
import sys

import pytest
from rich.console import Console
from rich.progress import Progress

from rnnx.cli.phase_bars import PhaseBars, phase_bars


@pytest.fixture
def progress() -> Progress:
    """Bars that are drawn into nothing."""
    return Progress(console=Console(file=io.StringIO(), force_terminal=True), auto_refresh=False)


def _shown(progress: Progress) -> list[tuple[str, float, float | None]]:
    return [(task.description, task.completed, task.total) for task in progress.tasks]


def test_open_phases_have_bars_indented_by_depth(progress: Progress) -> None:
    bars = PhaseBars(progress)
    bars.phase_started("Building", None, 6)
    bars.phase_started("Timing", "Building", 3)
    bars.phase_started("Nodes", "Timing", 10)
    bars.step_done("Nodes", 4)
    assert _shown(progress) == [("Building", 0, 6), ("  Timing", 0, 3), ("    Nodes", 5, 10)]


def test_a_finished_phase_has_no_bar(progress: Progress) -> None:
    bars = PhaseBars(progress)
    bars.phase_started("Building", None, 6)
    bars.phase_started("Timing", "Building", 3)
    bars.phase_finished("Timing")
    bars.step_done("Timing", 1)  # a late thread
    bars.phase_finished("Timing")
    assert _shown(progress) == [("Building", 0, 6)]


def test_a_pipe_has_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with phase_bars() as bars:
        assert bars is None


def test_a_terminal_has_bars_that_are_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name in ("NO_COLOR", "TTY_COMPATIBLE", "FORCE_COLOR", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with phase_bars() as bars:
        assert bars is not None
        bars.phase_started("Building engine", None, 6)
        bars.step_done("Building engine", 1)
    drawn = terminal.getvalue()
    assert "Building engine" in drawn
    assert "2/6" in drawn
    assert "%" not in drawn
    assert drawn.endswith("\x1b[2K")  # the last line is erased
