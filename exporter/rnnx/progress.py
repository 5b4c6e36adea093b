"""Telling a listener how far a long call is, so that a command can draw bars."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Protocol


class ProgressListener(Protocol):
    """What is told about a call's stages, from any thread; it must not raise.

    Stages may nest. Nearly all time can fall in one part of one stage, so parts done are no measure of time left.
    """

    def stage_started(self, name: str, total: int, parent: str | None = None) -> None:
        """A stage of `total` parts began, inside the stage `parent`."""

    def parts_done(self, name: str, count: int) -> None:
        """So many parts of the stage are done."""

    def stage_finished(self, name: str) -> None:
        """The stage is over, also when it failed."""


class Silence:
    """A listener for calls that nobody watches."""

    def stage_started(self, name: str, total: int, parent: str | None = None) -> None: ...

    def parts_done(self, name: str, count: int) -> None: ...

    def stage_finished(self, name: str) -> None: ...


@contextlib.contextmanager
def stage(listener: ProgressListener, name: str, total: int) -> Iterator[Callable[[], None]]:
    """One stage, ended whatever happens inside the block; gives what to call when one more part is done."""
    done = itertools.count(1)
    listener.stage_started(name, total)
    try:
        yield lambda: listener.parts_done(name, next(done))
    finally:
        listener.stage_finished(name)
