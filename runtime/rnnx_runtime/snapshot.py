"""The state of one stream as bytes: to keep it, to move it to another process, and to go on from it on another backend.

    offset  bytes  what
    0       8      the magic, b"RNNXSNAP"
    8       2      version of this format, little-endian, as all numbers
    10      2      N, length of the header
    12      N      the header: JSON in UTF-8; cell, layers, directions, hidden_size, projection_size, weights_sha256
    12+N    4·L·D·P   h, float32
    …       4·L·D·H   c, float32, of an LSTM
    …       32     SHA-256 of all bytes before

A cell's state `(P,)` is that of one layer in one direction, so that forms and backends read each other's snapshots.
"""

import hashlib
import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import SnapshotError

Array = NDArray[Any]

MAGIC = b"RNNXSNAP"
VERSION = 1

_START = struct.Struct("<8sHH")
_DIGEST_BYTES = 32
_SIZES = ("cell", "layers", "directions", "hidden_size", "projection_size")


def snapshot_from_state(h: Array, c: Array | None, contract: Contract) -> bytes:
    """The bytes of one stream's state: h `(L·D, P)` and, for LSTM, c `(L·D, H)`."""
    header = json.dumps(_header(contract), separators=(",", ":")).encode()
    parts = (h,) if c is None else (h, c)
    body = b"".join(np.ascontiguousarray(part, "<f4").tobytes() for part in parts)
    data = _START.pack(MAGIC, VERSION, len(header)) + header + body
    return data + hashlib.sha256(data).digest()


def state_from_snapshot(
    data: bytes | bytearray | memoryview, contract: Contract, *, any_weights: bool = False
) -> tuple[Array, Array | None]:
    """The h `(L·D, P)` and c `(L·D, H)` (None for GRU) of a snapshot, checked against a model's contract.

    Args:
        any_weights: take the state of a model with other weights and the same sizes, such as an earlier version.

    Raises:
        SnapshotError: not a snapshot, damaged, of another version, of a model with other sizes, or with other weights.
    """
    values = _whole(data)
    length = _START.unpack_from(values)[2]
    header = _header_from_bytes(values[_START.size : _START.size + length])
    _check_model(header, contract, any_weights)
    return _state_from_bytes(values[_START.size + length : -_DIGEST_BYTES], contract)


def _header(contract: Contract) -> dict[str, Any]:
    return {name: getattr(contract, name) for name in _SIZES} | {"weights_sha256": contract.source.weights_sha256}


def _whole(data: object) -> bytes:
    """The bytes of a snapshot of this version whose digest is right."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise _refusal(type(data).__name__, "bytes that snapshot() gave", "give bytes")
    values = bytes(data)
    if len(values) < _START.size + _DIGEST_BYTES:
        raise _refusal(f"{len(values)} bytes", "a whole snapshot", "it was truncated: take an earlier one")
    magic, version, length = _START.unpack_from(values)
    if magic != MAGIC:
        raise _refusal(f"data that begins with {magic!r}", f"{MAGIC!r}", "give bytes that snapshot() gave")
    if version != VERSION:
        raise _refusal(f"format version {version}", f"version {VERSION}", "read it with the rnnx that wrote it")
    if hashlib.sha256(values[:-_DIGEST_BYTES]).digest() != values[-_DIGEST_BYTES:]:
        raise _refusal("other bytes than were written", "its own SHA-256", "it was damaged: take an earlier one")
    if _START.size + length > len(values) - _DIGEST_BYTES:
        raise _refusal(f"a header of {length} bytes", "one within the snapshot", "take an earlier snapshot")
    return values


def _header_from_bytes(data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(data)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise _refusal("a header that is no JSON object", "a JSON object", "take an earlier snapshot")
    return header


def _check_model(header: dict[str, Any], contract: Contract, any_weights: bool) -> None:
    expected = _header(contract)
    differing = [name for name in _SIZES if header.get(name) != expected[name]]
    if differing:
        raise _refusal(
            ", ".join(f"{name} {header.get(name)!r}" for name in differing),
            ", ".join(f"{name} {expected[name]!r}" for name in differing),
            "restore it with the model that it was taken from",
        )
    if header.get("weights_sha256") != expected["weights_sha256"] and not any_weights:
        raise _refusal(
            f"weights {str(header.get('weights_sha256'))[:12]}…",
            f"{expected['weights_sha256'][:12]}…, those of the model",
            "restore it with the model that it was taken from, or say any_weights=True for a new version of it",
        )


def _state_from_bytes(body: bytes, contract: Contract) -> tuple[Array, Array | None]:
    lead = contract.layers * contract.directions
    widths = [contract.projection_size] + ([contract.hidden_size] if contract.cell == "lstm" else [])
    expected = 4 * lead * sum(widths)
    if len(body) != expected:
        raise _refusal(f"{len(body)} bytes of state", f"{expected}", "take an earlier snapshot")
    values = np.frombuffer(body, "<f4").astype(np.float32)
    h, *rest = (part.reshape(lead, -1) for part in np.split(values, [lead * widths[0]])[: len(widths)])
    return h, rest[0] if rest else None


def _refusal(got: str, expected: str, remedy: str) -> SnapshotError:
    return SnapshotError("snapshot", got=got, expected=expected, remedy=remedy)
