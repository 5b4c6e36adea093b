"""The streams that a command was given: encodings that lack characters, and what can no longer be written to."""

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rnnx.reports.outputs import Output

PIPE_CLOSED = 141
"""Exit code where stdout's reader is gone: a shell's for a program that SIGPIPE ended; 1 would be a failed check."""

_LEGIBLE = "rnnx-legible"

_LOOKALIKES = {
    "–": "-", "—": "-", "−": "-", "·": "*", "×": "x", "…": "...", "≤": "<=", "≥": ">=", "→": "->", "←": "<-",
    "√": "sqrt", "±": "+/-", "µ": "u", "─": "-", "━": "-", "│": "|", "█": "#", "“": '"', "”": '"', "‘": "'", "’": "'",
    "°": " deg",
}  # fmt: skip
"""What stands for a character in an encoding that lacks it; any other becomes an escape such as \\u4e2d."""


class UnwritableError(Exception):
    """Stdout takes no more: its reader is gone, or its disk is full; no OSError, which ends click and rich with 1."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.is_closed_pipe = error.errno == errno.EPIPE


class _Stdout(io.TextIOWrapper):
    """Stdout that has something for every character, and failures of its own."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        # Click writes UTF-8 to what calls itself ASCII; the characters that reach Latin-1 here are those of ASCII.
        is_ascii = codecs.lookup(stream.encoding).name == "ascii"
        super().__init__(
            stream.buffer,
            "latin-1" if is_ascii else stream.encoding,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        self._own = stream.encoding

    def write(self, text: str, /) -> int:
        try:
            super().write(text.encode(self._own, _LEGIBLE).decode(self._own))
        except OSError as error:
            raise UnwritableError(error) from None
        return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise UnwritableError(error) from None


def prepare_streams() -> None:
    """Let stdout take every text, and no file that is opened later stand where a closed stdout or stderr was."""
    codecs.register_error(_LEGIBLE, _legible)
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):  # a test's own stays as it is
        sys.stdout = _Stdout(sys.stdout)
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)


def binary_stdout() -> IO[bytes] | None:
    """Stdout for a report's bytes; None where it is closed."""
    return sys.stdout.buffer if sys.stdout else None


@contextlib.contextmanager
def tables_aside(outputs: "Mapping[str, Output]") -> Iterator[None]:
    """Let tables go to stderr where one of the outputs is stdout, which then holds that report alone."""
    if any(output.is_stdout for output in outputs.values()):
        with contextlib.redirect_stdout(sys.stderr):
            yield
    else:
        yield


@contextlib.contextmanager
def importing(factory: str | None) -> Iterator[None]:
    """Let a factory be found in the current folder; stdout is the report's, whatever the model prints."""
    from rnnx.modules.factories import importable

    if factory is None:
        yield
        return
    with importable(Path.cwd()), contextlib.redirect_stdout(sys.stderr):
        yield


def discard_rest() -> None:
    """Let go of what stdout cannot write: the interpreter's last flush would fail and change the exit code."""
    if not isinstance(sys.stdout, _Stdout):
        return
    try:
        sys.stdout.flush()
    except UnwritableError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _legible(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    parts = (_LOOKALIKES.get(character) or _escape(character) for character in text)
    return "".join(parts), error.end


def _escape(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")
