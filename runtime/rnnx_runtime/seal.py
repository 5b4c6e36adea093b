"""The seal: a SHA-256 that a file carries inside itself, over its bytes with the digest blanked.

An .onnx file is a protobuf whose metadata holds the contract as JSON text. The seal is one more key of that JSON, so a
reader finds it with a byte search and needs no protobuf or ONNX package to know that the file is whole.
"""

import hashlib

from rnnx_runtime.errors import FileDamagedError

SEAL_KEY = "sha256_of_this_file"
BLANK = "0" * 64
"""What stands in place of the digest while the digest is computed."""

_MARK = f'"{SEAL_KEY}": "'.encode()


def seal_offset(data: bytes) -> int:
    """Where the digest of sealed data begins; the data must carry a seal."""
    return data.rindex(_MARK) + len(_MARK)


def is_sealed(data: bytes) -> bool:
    """Whether the data carries a seal at all."""
    return _MARK in data


def check_seal(data: bytes, subject: str) -> None:
    """Compare the data with the seal it carries.

    Raises:
        FileDamagedError: the digest differs, so some byte is not what was written.
    """
    start = seal_offset(data)
    view = memoryview(data)
    actual = hashlib.sha256(view[:start])
    actual.update(BLANK.encode())
    actual.update(view[start + len(BLANK) :])
    found = data[start : start + len(BLANK)]
    if found != actual.hexdigest().encode():
        raise FileDamagedError(
            subject,
            got=f"content with sha256 {actual.hexdigest()[:12]}…",
            expected=f"the sealed {found[:12].decode('ascii', 'replace')}…",
            remedy="the file was truncated or changed after export: export it again or copy it anew",
        )
