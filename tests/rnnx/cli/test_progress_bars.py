import io
import sys

import pytest
from rich.console import Console
from rich.progress import Progress

from rnnx.cli.progress_bars import ProgressBars, progress_bars
from rnnx.progress import Silence, stage


@pytest.fixture
def progress() -> Progress:
    """Bars that are drawn into nothing."""
    return Progress(console=Console(file=io.StringIO(), force_terminal=True), auto_refresh=False)


def _shown(progress: Progress) -> list[tuple[str, float, float | None]]:
    return [(task.description, task.completed, task.total) for task in progress.tasks]


def test_a_stage_is_one_bar_that_moves_and_goes(progress: Progress) -> None:
    bars = ProgressBars(progress)
    with stage(bars, "ort-cpu: cases", 3) as part_done:
        part_done()
        (task,) = progress.tasks
        assert (task.description, task.total, task.completed) == ("ort-cpu: cases", 3, 1)
    assert not progress.tasks


def test_a_stage_that_fails_takes_its_bar_away(progress: Progress) -> None:
    with pytest.raises(ValueError, match="broken"), stage(ProgressBars(progress), "cases", 1):
        raise ValueError("broken")
    assert not progress.tasks


def test_nothing_is_drawn_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as listener, stage(listener, "cases", 1) as part_done:
        part_done()
    assert isinstance(listener, Silence)
    assert capsys.readouterr() == ("", "")


def test_open_stages_have_bars_indented_by_depth(progress: Progress) -> None:
    bars = ProgressBars(progress)
    bars.stage_started("Building", 6)
    bars.stage_started("Timing", 3, "Building")
    bars.stage_started("Nodes", 10, "Timing")
    bars.parts_done("Nodes", 5)
    assert _shown(progress) == [("Building", 0, 6), ("  Timing", 0, 3), ("    Nodes", 5, 10)]


def test_a_finished_stage_has_no_bar(progress: Progress) -> None:
    bars = ProgressBars(progress)
    bars.stage_started("Building", 6)
    bars.stage_started("Timing", 3, "Building")
    bars.stage_finished("Timing")
    bars.parts_done("Timing", 2)  # a late thread
    bars.stage_finished("Timing")
    assert _shown(progress) == [("Building", 0, 6)]


def test_a_terminal_has_bars_that_are_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name in ("NO_COLOR", "TTY_COMPATIBLE", "FORCE_COLOR", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress_bars() as bars:
        bars.stage_started("Building engine", 6)
        bars.parts_done("Building engine", 2)
    drawn = terminal.getvalue()
    assert "Building engine" in drawn
    assert "2/6" in drawn
    assert "%" not in drawn
    assert drawn.endswith("\x1b[2K")  # the last line is erased
