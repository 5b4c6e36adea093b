"""The state that a tensor's name says it is: `h0`, `hn`, `h_out` and `new_h` are all one, `h`."""

import re

_WORDS = (
    "in", "out", "input", "output", "new", "next", "prev", "previous", "old", "last", "init", "initial", "final",
    "cur", "current", "past", "present", "updated", "n", "0", "t", "start", "end",
)  # fmt: skip
"""Words that say when a state is, and not which."""

_LETTERED = re.compile(r"(h|c|hx|cx|state|states|hidden|cell|cache|h_n|c_n)(0|n|in|out|N)$")


def state_name(name: str) -> str:
    """What is left of a name without the words that say when; empty where nothing is."""
    return "_".join(word for word in _split(name) if word not in _WORDS)


def _split(name: str) -> list[str]:
    """The words of a name: `stateN` and `hn` are two, `conv1` is one."""
    words = list[str]()
    for part in re.split(r"[^0-9A-Za-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)):
        lettered = _LETTERED.fullmatch(part.lower())
        words += lettered.groups() if lettered else [part.lower()]
    return [word for word in words if word]
