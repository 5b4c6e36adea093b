"""Every error rnnx raises on purpose.

RnnxError
├── ContractError        a model file's contract is missing, malformed, of another version, or does not match the file
├── FileDamagedError     a model file is missing, truncated, foreign, or not the bytes that were written
├── InputError           an array or option given by the caller has the wrong dtype, rank, size or value
├── SnapshotError        a snapshot of a stream is damaged, of another version, or of another model
├── BackendUnavailable   this host cannot run the backend: a package, library, driver or device is missing
├── BackendError         the backend was there and failed
│   └── StepTimeout      a step of a pool did not come back in time
├── SessionClosedError   the session was used after `close`
│   └── ForkedError      the session was opened in another process than this one
├── PoolOverloaded       a pool has no room for another push or another stream; nothing was queued
├── DeadlineExceeded     a push waited longer than its caller allowed; it was not applied
├── PushCancelled        a push was cancelled before it ran; it was not applied
├── PoolClosedError      the pool was used after `close`, or closed while the push waited
└── StreamClosedError    the stream of a pool was used after it was closed
    └── StreamEvicted    the pool took the slot of a stream that was idle for too long
"""

from collections.abc import Callable

from rnnx_runtime.printable import shown

_MOST_SHOWN = 2_000
"""Characters of each part of a message; the parts themselves are kept whole."""


class RnnxError(Exception):
    """A message in four parts: the subject, what was got, what was expected, and what to do about it.

    The message is one line that a terminal can have, whatever names from files are in it; the parts are as given.
    """

    def __init__(self, subject: str, *, got: str, expected: str, remedy: str) -> None:
        parts = (shown(part, _MOST_SHOWN) for part in (subject, got, expected, remedy))
        super().__init__("{}: got {}, expected {}; {}".format(*parts))
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
    """An array or option given by the caller has the wrong dtype, rank, size or value."""


class SnapshotError(RnnxError):
    """A snapshot of a stream is damaged, of another version, or of another model."""


class BackendUnavailable(RnnxError):  # noqa: N818 - a state of the host, not a fault
    """This host cannot run the backend: a package, library, driver or device is missing."""


class BackendError(RnnxError):
    """The backend was there and failed."""


class StepTimeout(BackendError):  # noqa: N818 - named like the others of its kind in the standard library
    """A step of a pool did not come back in time."""


class SessionClosedError(RnnxError):
    """The session was used after `close`."""


class ForkedError(SessionClosedError):
    """The session was opened in another process than this one."""


class PoolOverloaded(RnnxError):  # noqa: N818 - a state of the pool, not a fault
    """A pool has no room for another push or another stream; nothing was queued."""


class DeadlineExceeded(RnnxError):  # noqa: N818 - a state of the push, not a fault
    """A push waited longer than its caller allowed; it was not applied."""


class PushCancelled(RnnxError):  # noqa: N818 - a state of the push, not a fault
    """A push was cancelled before it ran; it was not applied."""


class PoolClosedError(RnnxError):
    """The pool was used after `close`, or closed while the push waited."""


class StreamClosedError(RnnxError):
    """The stream of a pool was used after it was closed."""


class StreamEvicted(StreamClosedError):  # noqa: N818 - a state of the stream, not a fault
    """The pool took the slot of a stream that was idle for too long."""
