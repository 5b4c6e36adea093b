"""What `rnnx adopt` is told on the command line: `NAME=VALUE` of three kinds."""

import re
from collections.abc import Sequence

from rnnx.errors import OptionError
from rnnx_runtime.contract import LARGEST_SIZE

_MOST_DIGITS = 19


def names_from_texts(texts: Sequence[str]) -> dict[str, str]:
    """`IN=OUT`; raises OptionError."""
    return dict(_pair(text, texts, "states", "IN=OUT, each input once", "--state h=h_next") for text in texts)


def integers_from_texts(texts: Sequence[str]) -> dict[str, int]:
    """`DIM=N`; raises OptionError."""
    found = {}
    for text in texts:
        name, value = _pair(text, texts, "sizes", "DIM=N, each dim once", "--size T=16")
        if not re.fullmatch(rf"\d{{1,{_MOST_DIGITS}}}", value, re.ASCII) or not 1 <= int(value) <= LARGEST_SIZE:
            raise _refused("sizes", text, f"a size from 1 to {LARGEST_SIZE}", "--size T=16")
        found[name] = int(value)
    return found


def ranges_from_texts(texts: Sequence[str]) -> dict[str, tuple[float, float]]:
    """`NAME=VALUE` or `NAME=LOW..HIGH`; raises OptionError."""
    found = {}
    number = rf"-?\d{{1,{_MOST_DIGITS}}}(?:\.\d{{1,{_MOST_DIGITS}}})?"
    for text in texts:
        name, value = _pair(text, texts, "values", "NAME=LOW..HIGH, each input once", "--value sr=16000")
        match = re.fullmatch(rf"({number})(?:\.\.({number}))?", value, re.ASCII)
        if not match or float(match[1]) > float(match[2] or match[1]):
            raise _refused("values", text, "a number, or LOW..HIGH with LOW not above HIGH", "--value tokens=0..99")
        found[name] = float(match[1]), float(match[2] or match[1])
    return found


def constants_from_texts(texts: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE`; raises OptionError."""
    return dict(_pair(text, texts, "constants", "NAME=VALUE, each input once", "--constant sr=16000") for text in texts)


def _pair(text: str, texts: Sequence[str], option: str, expected: str, example: str) -> tuple[str, str]:
    name, _, value = (part.strip() for part in text.partition("="))
    if not name or not value or [other.partition("=")[0].strip() for other in texts].count(name) > 1:
        raise _refused(option, text, expected, example)
    return name, value


def _refused(option: str, text: str, expected: str, example: str) -> OptionError:
    return OptionError(option, got=repr(text[:200]), expected=expected, remedy=f"such as {example}")
