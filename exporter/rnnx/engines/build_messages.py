"""What TensorRT says while it parses and builds: it reports most failures in its log and returns None or False."""

import re
from typing import Any

from rnnx.errors import EngineError

_SOURCE_PLACE = re.compile(r"\s*\bIn \w+ at /\S+:\d+")
_NO_DRIVER = "cudaError 35"
"""Without a driver every error about something else is followed by a line with this."""

_REMEDIES = {
    "workspace": "raise workspace_mib (--workspace-mib), or leave it out for all of the memory",
    "out of memory": "free GPU memory, or lower the largest sizes of the profiles (--profile)",
    "optimization profile": "give each dim a range in the profiles (--profile)",
    _NO_DRIVER: "install an NVIDIA driver, or use flavor tensorrt-rtx, which needs none to build",
}
"""What to do about an error, by what its text contains."""

_NO_REMEDY = "TensorRT cannot build this model: try another form, or another version of the library"


class BuildMessages:
    """The warnings and errors of one build, each once and in order; safe to fill from TensorRT's threads."""

    def __init__(self) -> None:
        # A dict keeps the order and drops repeats, and adding a key to it is atomic.
        self._warnings: dict[str, None] = {}
        self._errors: dict[str, None] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings so far."""
        return tuple(self._warnings)

    @property
    def errors(self) -> tuple[str, ...]:
        """The errors so far, without those that only say that there is no driver, unless there are no others."""
        own = tuple(text for text in self._errors if _NO_DRIVER not in text)
        return own or tuple(self._errors)

    def add(self, severity: str, text: str) -> None:
        """Keep a message of TensorRT's severity `INTERNAL_ERROR`, `ERROR` or `WARNING`; others are dropped."""
        kept = _SOURCE_PLACE.sub("", " ".join(text.split()))
        if severity == "WARNING":
            self._warnings[kept] = None
        elif severity in ("ERROR", "INTERNAL_ERROR"):
            self._errors[kept] = None

    def error(self, subject: str, expected: str) -> EngineError:
        """The error to raise after TensorRT gave up: the first thing it complained about, which is the cause."""
        got = self.errors[0] if self.errors else "nothing, and no message"
        remedy = next((remedy for part, remedy in _REMEDIES.items() if part.lower() in got.lower()), _NO_REMEDY)
        return EngineError(subject, got=got, expected=expected, remedy=remedy)


def logger_for(trt: Any, messages: BuildMessages) -> Any:
    """A `trt.ILogger` that fills `messages` and prints nothing."""

    class Collector(trt.ILogger):  # type: ignore[misc] # the module is Any
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind11 wants this call, not super()'s

        def log(self, severity: Any, text: str) -> None:
            messages.add(severity.name, text)

    return Collector()
