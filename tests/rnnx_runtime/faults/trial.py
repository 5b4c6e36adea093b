"""Reading one damaged file, within limits of time and memory, and what came of it."""

import contextlib
import signal
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.rnnx_runtime.faults.specimens import Specimen, read

from rnnx_runtime import RnnxError

SECONDS = 30.0
"""After which a read counts as hanging; one takes milliseconds, but a busy machine may stop for seconds."""

SPARE_BYTES = 2**20
"""What a read may take beside a few times the files' own size."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`refused` is the error's class, empty for a file read as if nothing was wrong; `failure` is what must not be."""

    kind: str
    fault: str
    refused: str
    failure: str
    seconds: float
    peak_bytes: int

    def __str__(self) -> str:
        return f"{self.kind}, {self.fault}: {self.failure or self.refused or 'unchanged'}"


def attempt(specimen: Specimen, fault: str, data: bytes, folder: Path, sound: bytes) -> Outcome:
    """Read the specimen's files, one of them damaged, in a folder that holds the sound ones.

    `tracemalloc` must be running. A file that is read must give what the sound one gave, bit for bit.
    """
    (folder / specimen.target).write_bytes(data)
    tracemalloc.reset_peak()
    before, start = tracemalloc.get_traced_memory()[0], time.perf_counter()
    refused, failure = _reading(specimen, folder, sound)
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1] - before
    size = sum(len(content) for content in specimen.files.values()) + len(data)
    if not failure and peak > 4 * size + SPARE_BYTES:
        failure = f"took {peak} bytes of memory for {size} bytes of files"
    return Outcome(kind=specimen.kind, fault=fault, refused=refused, failure=failure, seconds=seconds, peak_bytes=peak)


def _reading(specimen: Specimen, folder: Path, sound: bytes) -> tuple[str, str]:
    """The class of a refusal, and what is wrong with it or with the reading."""
    try:
        with _time_limit():
            found = read(specimen, folder)
    except RnnxError as error:
        subject = "snapshot" if specimen.reader == "snapshot" else "model."
        named = subject in error.subject and (error.got and error.expected and error.remedy)
        return type(error).__name__, "" if named else f"a message that does not name the file: {error}"
    except BaseException as error:
        return "", f"{type(error).__name__}: {error}"
    return "", "" if found == sound else "another result than the sound file's"


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    def expire(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer within {SECONDS} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
