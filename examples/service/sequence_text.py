"""Whole sequences out of JSON, read frame by frame.

`json.loads` on a megabyte of brackets holds the interpreter for a quarter of a second, and every stream with it. Here
no single call reads more than one frame, whose text is bounded, and reading ends with the first thing that is wrong.
"""

import re
from array import array
from collections.abc import Callable

import numpy as np

from rnnx_runtime import InputError
from service.payloads import Array, value_from_json

_SPACE = re.compile(r"[ \t\n\r]*")
_FLAT_LIST = re.compile(r"\[[^][{}\"]*\]")
_NUMBER_CHARACTERS = 64
"""The most that a number takes in a frame on average, with the spaces around it."""


def sequences_from_json(body: bytes, width: int, check: Callable[[int, int], None]) -> list[Array]:
    """The sequences `(T, I)` in `{"sequences": [[[...I numbers], ...T], ...B]}`.

    `check` is called with the longest length and the number of sequences so far, and raises what it does not take.

    Raises:
        InputError: another text, no sequence, or an empty one.
    """
    return _Reader(body, width, check).sequences()


class _Reader:
    """A place in the text, and what was read before it."""

    def __init__(self, body: bytes, width: int, check: Callable[[int, int], None]) -> None:
        try:
            self._text = body.decode()
        except UnicodeDecodeError as error:
            raise _refusal("JSON", f"none ({str(error)[:100]})", "an object in UTF-8") from None
        self._at = 0
        self._width = width
        self._check = check

    def sequences(self) -> list[Array]:
        self._expect("{")
        if self._takes("}"):
            raise _refusal("'sequences'", "none", "a list of sequences")
        self._expect('"sequences"')
        self._expect(":")
        if not self._takes("[") or self._takes("]"):
            raise _refusal("'sequences'", self._next(), "a list of sequences")
        sequences: list[Array] = []
        longest = 0
        while not sequences or self._goes_on():
            sequences.append(self._sequence(len(sequences), longest))
            longest = max(longest, len(sequences[-1]))
        self._expect("}")
        self._takes("")  # spaces
        if self._at < len(self._text):
            raise self._no_object()
        return sequences

    def _sequence(self, index: int, longest: int) -> Array:
        numbers, frames = array("f"), 0
        if not self._takes("[") or self._takes("]"):
            raise _refusal(f"sequence {index}", self._next(), f"(T, {self._width})")
        while not frames or self._goes_on():
            frames += 1
            self._check(max(longest, frames), index + 1)
            numbers.extend(self._frame(index))  # beyond float32 it is infinity
        sequence = np.frombuffer(numbers, np.float32).reshape(frames, self._width)
        if not np.isfinite(sequence).all():
            raise _refusal(f"sequence {index}", "a number beyond float32", "finite numbers")
        return sequence

    def _frame(self, index: int) -> list[float]:
        self._takes("")  # spaces
        end = self._at + _NUMBER_CHARACTERS * (self._width + 1)
        found = _FLAT_LIST.match(self._text, self._at, end)
        if found is None:
            expected = f"(T, {self._width}), frames of at most {end - self._at} characters"
            raise _refusal(f"sequence {index}", self._next(), expected)
        self._at = found.end()
        frame = value_from_json(found[0])
        if len(frame) != self._width:
            raise _refusal(f"sequence {index}", f"a frame of {len(frame)} numbers", f"(T, {self._width})")
        if not set(map(type, frame)) <= {int, float}:
            raise _refusal(f"sequence {index}", "null, true or false", "finite numbers")
        try:
            return list(map(float, frame))
        except OverflowError:
            raise _refusal(f"sequence {index}", "a number beyond float32", "finite numbers") from None

    def _goes_on(self) -> bool:
        """Whether a list goes on; if not, its end is read."""
        if self._takes(","):
            return True
        self._expect("]")
        return False

    def _takes(self, mark: str) -> bool:
        """Read a mark and the spaces before it, if it is what comes next."""
        found = _SPACE.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _expect(self, mark: str) -> None:
        if not self._takes(mark):
            raise self._no_object()

    def _no_object(self) -> InputError:
        return _refusal("JSON", self._next(), 'an object of "sequences" alone')

    def _next(self) -> str:
        """What comes next, for a message."""
        return f"{self._text[self._at : self._at + 20]!r} at character {self._at}"


def _refusal(subject: str, got: str, expected: str) -> InputError:
    return InputError(subject, got=got, expected=expected, remedy="see examples/service/README.md")
