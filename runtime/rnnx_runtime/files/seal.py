"""The seal: a SHA-256 that a file carries inside itself, over its bytes with the digest blanked.

An .onnx file is a protobuf whose metadata holds the contract as JSON text, and a sidecar is JSON text. The seal is one
more key of that JSON, so a reader finds it with a byte search and knows that the file is whole before it parses any.
"""

import hashlib

from rnnx_runtime.errors import FileDamagedError

SEAL_KEY = "sha256_of_this_file"
BLANK = "0" * 64
"""What stands in place of the digest while the digest is computed."""

_REMEDY = "the file was truncated or changed after export: export it again or copy it anew"

_MARK = f'"{SEAL_KEY}": "'.encode()


def seal_offset(data: bytes) -> int:
    """Where the digest of sealed data begins; the data must carry a seal."""
    return data.rindex(_MARK) + len(_MARK)


def is_sealed(data: bytes) -> bool:
    """Whether the data carries a seal at all."""
    return data.rfind(_MARK) >= 0  # from the end, where a seal is


def sealed(data: bytes) -> bytes:
    """The data under a fresh seal, whatever stands in the digest's place; the data must carry a seal."""
    start = seal_offset(data)
    return data[:start] + _digest(data, start).encode() + data[start + len(BLANK) :]


def check_seal(data: bytes, subject: str, remedy: str = _REMEDY) -> None:
    """Compare the data with the seal it carries.

    Raises:
        FileDamagedError: the digest differs, so some byte is not what was written.
    """
    start = seal_offset(data)
    actual, found = _digest(data, start), data[start : start + len(BLANK)]
    if found != actual.encode():
        raise FileDamagedError(
            subject,
            got=f"content with sha256 {actual[:12]}…",
            expected=f"the sealed {found[:12].decode('ascii', 'backslashreplace')}…",
            remedy=remedy,
        )


def _digest(data: bytes, start: int) -> str:
    view = memoryview(data)
    digest = hashlib.sha256(view[:start])
    digest.update(BLANK.encode())
    digest.update(view[start + len(BLANK) :])
    return digest.hexdigest()
