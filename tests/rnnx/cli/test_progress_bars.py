import io

import pytest
from rich.console import Console
from rich.progress import Progress

from rnnx.cli.progress_bars import ProgressBars, progress_bars
from rnnx.progress import Silence, stage


def _progress() -> Progress:
    return Progress(console=Console(file=io.StringIO(), force_terminal=True))


def test_a_stage_is_one_bar_that_moves_and_goes() -> None:
    progress = _progress()
    bars = ProgressBars(progress)
    with stage(bars, "ort-cpu: cases", 3):
        bars.part_done()
        (task,) = progress.tasks
        assert (task.description, task.total, task.completed) == ("ort-cpu: cases", 3, 1)
    assert not progress.tasks


def test_a_stage_that_fails_takes_its_bar_away() -> None:
    progress = _progress()
    with pytest.raises(ValueError, match="broken"), stage(ProgressBars(progress), "cases", 1):
        raise ValueError("broken")
    assert not progress.tasks


def test_a_part_outside_of_a_stage_is_no_error() -> None:
    ProgressBars(_progress()).part_done()


def test_nothing_is_drawn_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as listener, stage(listener, "cases", 1):
        listener.part_done()
    assert isinstance(listener, Silence)
    assert capsys.readouterr() == ("", "")
