"""Telling a listener how far a long call is, so that a command can draw a bar."""

import contextlib
from collections.abc import Iterator
from typing import Protocol


class ProgressListener(Protocol):
    """What is told about a call's stages; it must not raise. Stages do not nest."""

    def stage_started(self, name: str, total: int) -> None:
        """A stage of `total` parts began."""

    def part_done(self) -> None:
        """One more part of the current stage is done."""

    def stage_finished(self) -> None:
        """The current stage is over, also when it failed."""


class Silence:
    """A listener for calls that nobody watches."""

    def stage_started(self, name: str, total: int) -> None: ...

    def part_done(self) -> None: ...

    def stage_finished(self) -> None: ...


@contextlib.contextmanager
def stage(listener: ProgressListener, name: str, total: int) -> Iterator[None]:
    """One stage, ended whatever happens inside the block."""
    listener.stage_started(name, total)
    try:
        yield
    finally:
        listener.stage_finished()
