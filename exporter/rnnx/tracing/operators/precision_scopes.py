"""`torch.autocast` in a model's code, left out: rnnx exports in float32, and a trace would hide the layers in it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.amp.autocast_mode import autocast

AUTOCAST_NOTE = "torch.autocast in forward is left out: exported in float32"


@contextmanager
def without_autocast() -> Iterator[list[str]]:
    """Let `torch.autocast` do nothing in this thread inside the block; gives a note where it would have."""
    notes, owner = list[str](), threading.get_ident()
    enter, leave = autocast.__enter__, autocast.__exit__

    def entered(self: Any) -> Any:
        if threading.get_ident() != owner:
            return enter(self)  # type: ignore[no-untyped-call]
        notes.extend([AUTOCAST_NOTE] if self._enabled else [])
        return self

    def left(self: Any, *error: Any) -> Any:
        return None if threading.get_ident() == owner else leave(self, *error)

    autocast.__enter__, autocast.__exit__ = entered, left  # type: ignore[method-assign]
    try:
        yield notes
    finally:
        autocast.__enter__, autocast.__exit__ = enter, leave  # type: ignore[method-assign]
