"""Where reports go: opened before the work that they report, and written after it."""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from rnnx.artifacts import check_place, staged
from rnnx.errors import OutputError
from rnnx.outputs.output_places import OpenDescriptor, open_stream, place_of

STDOUT: Literal["-"] = "-"
"""In a path's place: the report goes to stdout, which then holds nothing else."""

Target = Path | Literal["-"]


@dataclass(frozen=True, kw_only=True)
class Output:
    """One report's: a file that is replaced whole, or a stream that is written through.

    `is_stdout` says that a text for people must go elsewhere.
    """

    path: Target
    stream: IO[bytes] | None
    is_stdout: bool = False

    def write(self, text: str) -> None:
        """Write a whole report, in UTF-8.

        Raises:
            OutputError: a file could not be written, a device is full, or the reader of a pipe is gone.
        """
        data = text.encode("utf-8", "backslashreplace")  # a path may hold bytes that are no text
        if self.stream is None:
            path = Path(self.path)
            with staged(path) as stage:
                (stage / path.name).write_bytes(data)
            return
        try:
            _write_all(self.stream, data)
        except OSError as error:
            raise OutputError(
                f"writing {self.path}",
                got=error.strerror or str(error),
                expected="a reader or a device that takes the whole report",
                remedy="keep its reader open, or name a file",
            ) from None


@contextmanager
def opened_outputs(
    targets: Mapping[str, Target | None], inputs: Sequence[Path | None] = (), *, stdout: IO[bytes] | None = None
) -> Iterator[Mapping[str, Output]]:
    """Open what each report, by its option's name, goes to, so that nothing keeps it from being written afterwards.

    Args:
        targets: a path, or `-` for `stdout`; None where no report was asked for.
        inputs: files that are read, which no report may replace.
        stdout: the stream for `-`; None where it is closed.

    Raises:
        OutputError: a place that cannot be written, one of the `inputs`, or a place of two reports.
    """
    taken: dict[object, str] = {os.path.realpath(path): "a file that is read" for path in inputs if path is not None}
    with ExitStack() as stack:
        outputs: dict[str, Output] = {}
        for kind, target in targets.items():
            if target is None:
                continue
            try:
                place = _place(target)
                _refuse_taken(place, taken)
                outputs[kind] = _opened(target, place, stdout, stack)
            except OutputError as error:
                option = f"--{kind} {target}"
                raise OutputError(option, got=error.got, expected=error.expected, remedy=error.remedy) from None
        yield outputs


def _write_all(stream: IO[bytes], data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        written = stream.write(rest)
        if written is None:  # a descriptor that its maker set not to wait
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        rest = rest[written:]
    stream.flush()


def _place(target: Target) -> object:
    """What two reports must not share, of the type that one place has however it is named."""
    place = OpenDescriptor(number=1) if target == STDOUT else place_of(Path(target))
    return str(place) if isinstance(place, Path) else place


def _refuse_taken(place: object, taken: dict[object, str]) -> None:
    if place in taken and not (isinstance(place, str) and Path(place).is_char_device()):
        raise OutputError("writing", got=taken[place], expected="a file of its own", remedy="choose another name")
    taken[place] = "the file of another report"


def _refuse_stdouts(path: Path) -> None:
    """A file that stdout was sent to would be replaced, and all that is printed lost with the old one."""
    try:
        is_stdouts = os.path.samestat(os.fstat(1), path.stat())
    except OSError:
        return
    if is_stdouts:
        raise OutputError(
            "writing", got="the file that stdout goes to", expected="a file of its own", remedy="write - for stdout"
        )


def _opened(target: Target, place: object, stdout: IO[bytes] | None, stack: ExitStack) -> Output:
    if target == STDOUT:
        if stdout is None:
            raise OutputError(STDOUT, got="a closed stdout", expected="an open one", remedy="name a file")
        return Output(path=target, stream=stdout, is_stdout=True)
    path = Path(target)
    descriptor = open_stream(path)
    if descriptor is None:
        _refuse_stdouts(path)
        check_place(path)
        return Output(path=path, stream=None)
    stream = stack.enter_context(os.fdopen(descriptor, "wb", buffering=0))
    return Output(path=path, stream=stream, is_stdout=place == OpenDescriptor(number=1))
