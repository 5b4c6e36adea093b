from threading import Event
from types import SimpleNamespace

from rnnx.engines.build_progress import monitor_for

TRT = SimpleNamespace(IProgressMonitor=type("IProgressMonitor", (), {}))


class Notes:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def stage_started(self, name: str, total: int, parent: str | None = None) -> None:
        self.calls.append(("started", name, parent, total))

    def parts_done(self, name: str, count: int) -> None:
        self.calls.append(("done", name, count))

    def stage_finished(self, name: str) -> None:
        self.calls.append(("finished", name))


def test_a_listener_is_told_of_phases_and_steps() -> None:
    notes = Notes()
    monitor = monitor_for(TRT, notes, Event())
    monitor.phase_start("inner", "outer", 1)
    assert monitor.step_complete("inner", 0) is True
    monitor.phase_finish("inner")
    assert notes.calls == [("started", "inner", "outer", 1), ("done", "inner", 1), ("finished", "inner")]


def test_a_cancelled_build_is_stopped_and_no_longer_told_of() -> None:
    notes, cancelled = Notes(), Event()
    monitor = monitor_for(TRT, notes, cancelled)
    cancelled.set()
    monitor.phase_start("inner", None, 1)
    assert monitor.step_complete("inner", 0) is False
    monitor.phase_finish("inner")
    assert notes.calls == []


def test_a_build_without_a_listener_goes_on() -> None:
    monitor = monitor_for(TRT, None, Event())
    monitor.phase_start("outer", None, 1)
    assert monitor.step_complete("outer", 0) is True
    monitor.phase_finish("outer")
