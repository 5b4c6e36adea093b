"""Every error rnnx raises on purpose.

RnnxError
├── ContractError        a model file's contract is missing, malformed, of another version, or does not match the file
├── FileDamagedError     a model file is missing, truncated, foreign, or not the bytes that were written
├── InputError           an array given to `run` or `step` has the wrong dtype, rank or size
├── BackendUnavailable   this host cannot run the backend: a package, library, driver or device is missing
├── BackendError         the backend was there and failed
└── SessionClosedError   the session was used after `close`
"""

from collections.abc import Callable


class RnnxError(Exception):
    """A message in four parts: the subject, what was got, what was expected, and what to do about it."""

    def __init__(self, subject: str, *, got: str, expected: str, remedy: str) -> None:
        super().__init__(f"{subject}: got {got}, expected {expected}; {remedy}")
        self.subject = subject
        self.got = got
        self.expected = expected
        self.remedy = remedy

    def __reduce__(self) -> "tuple[Callable[..., RnnxError], tuple[type[RnnxError], str, str, str, str]]":
        """An error can cross a process, whatever a subclass's own constructor takes."""
        return _restored, (type(self), self.subject, self.got, self.expected, self.remedy)


def _restored(kind: type[RnnxError], subject: str, got: str, expected: str, remedy: str) -> RnnxError:
    error = kind.__new__(kind)
    RnnxError.__init__(error, subject, got=got, expected=expected, remedy=remedy)
    return error


class ContractError(RnnxError):
    """A model file's contract is missing, malformed, of another version, or does not match the file."""


class FileDamagedError(RnnxError):
    """A model file is missing, truncated, foreign, or not the bytes that were written."""


class InputError(RnnxError):
    """An array given to `run` or `step` has the wrong dtype, rank or size."""


class BackendUnavailable(RnnxError):  # noqa: N818 - a state of the host, not a fault
    """This host cannot run the backend: a package, library, driver or device is missing."""


class BackendError(RnnxError):
    """The backend was there and failed."""


class SessionClosedError(RnnxError):
    """The session was used after `close`."""
