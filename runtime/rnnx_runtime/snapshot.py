"""The state of one stream as bytes, to go on from on any backend and in any form of the same model.

The layout, all numbers little-endian:

    offset   bytes       content
    0        8           magic, `b"RNNXSNAP"`
    8        2           format version, uint16
    10       2           K, the header's length, uint16, at most 4096
    12       K           header: JSON in UTF-8, an object of the model's cell, sizes, precision and weights_sha256
    12 + K   4·L·D·P     h `(L·D, P)` in float32, C order
    …        4·L·D·H     c `(L·D, H)` in float32, C order; an LSTM's alone
    end - 32 32          SHA-256 over all bytes before it

L layers, D directions, H hidden size, P the width of `h`; a cell is L·D = 1. Any value of float32 is a state, NaN too.
The digest finds damage; it does not tell who wrote the bytes.
"""

import hashlib
import json
import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import InputError, SnapshotError

Array = NDArray[Any]

VERSION = 1
MOST_HEADER_BYTES = 4096

_MAGIC = b"RNNXSNAP"
_START = struct.Struct("<8sHH")
_DIGEST_BYTES = 32
_FLOAT32 = np.dtype("<f4")
_SIZES = ("cell", "input_size", "hidden_size", "projection_size", "layers", "directions")
"""What a model must share with a snapshot's; its form, precision and formulation may differ."""


def snapshot_from_state(h: Array, c: Array | None, contract: Contract) -> bytes:
    """One stream's state as bytes.

    Args:
        h: float32 `(L·D, P)`.
        c: float32 `(L·D, H)`; None but for LSTM.
        contract: the model whose state it is.

    Raises:
        InputError: h or c has another dtype or shape.
        SnapshotError: the contract's texts are longer than a header may be.
    """
    header = json.dumps(_header(contract), separators=(",", ":")).encode()
    if len(header) > MOST_HEADER_BYTES:
        raise _unfit("snapshot", f"a header of {len(header)} bytes", f"at most {MOST_HEADER_BYTES}")
    parts = [h] if c is None else [h, c]
    got = ", ".join(f"{part.dtype} {part.shape}" for part in parts)
    expected = ", ".join(f"float32 {shape}" for shape in _shapes(contract))
    if got != expected:
        raise InputError("state of a snapshot", got=got, expected=expected, remedy="give the state of one stream")
    values = [part.astype(_FLOAT32).tobytes() for part in parts]  # C order, whatever the array's own
    content = b"".join([_START.pack(_MAGIC, VERSION, len(header)), header, *values])
    return content + hashlib.sha256(content).digest()


def state_from_snapshot(
    data: bytes | bytearray | memoryview, contract: Contract, *, any_weights: bool = False
) -> tuple[Array, Array | None]:
    """The state in a snapshot, checked against the model that is to go on from it.

    Args:
        data: what `snapshot_from_state` gave.
        contract: the model.
        any_weights: take a snapshot of a model with other weights too, such as one that was trained again.

    Returns:
        h `(L·D, P)` and c `(L·D, H)`, None but for LSTM; arrays of their own.

    Raises:
        SnapshotError: no snapshot, of another format version, damaged, or of another model.
    """
    data = _bytes_of(data)
    header, values = _opened(data)
    _check_model(header, contract, any_weights)
    shapes = _shapes(contract)
    size = sum(_FLOAT32.itemsize * rows * width for rows, width in shapes)
    if len(values) != size:
        raise _damaged(f"{len(values)} bytes of values", f"{size}, for the sizes in its header")
    flat, split = np.frombuffer(values, _FLOAT32), math.prod(shapes[0])
    parts = (flat[:split], flat[split:])
    h, *rest = (part.reshape(shape).astype(np.float32) for part, shape in zip(parts, shapes, strict=False))
    return h, rest[0] if rest else None


def _header(contract: Contract) -> dict[str, Any]:
    sizes = {name: getattr(contract, name) for name in _SIZES}
    sizes |= {"nonlinearity": contract.nonlinearity} if contract.nonlinearity else {}
    return {**sizes, "precision": contract.precision, "weights_sha256": contract.source.weights_sha256}


def _shapes(contract: Contract) -> list[tuple[int, int]]:
    """The shapes of h and, for LSTM, c."""
    rows = contract.layers * contract.directions
    shapes = [(rows, contract.projection_size), (rows, contract.hidden_size)]
    return shapes if contract.cell == "lstm" else shapes[:1]


def _bytes_of(data: object) -> bytes:
    """The data as bytes that no other thread can change while they are checked."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise _unfit("snapshot", type(data).__name__, "bytes, a bytearray or a memoryview")
    least = _START.size + _DIGEST_BYTES
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    if size < least:
        raise _damaged(f"{size} bytes", f"at least {least}")
    return bytes(data)


def _opened(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """The header and the bytes of the values of data whose digest is right."""
    magic, version, header_size = _START.unpack_from(data)
    if magic != _MAGIC:
        raise _unfit("snapshot", f"data that starts with {magic!r}", f"{_MAGIC!r}")
    if version != VERSION:
        remedy = "use the version of rnnx that wrote it"
        raise SnapshotError("snapshot", got=f"format {version}", expected=f"format {VERSION}", remedy=remedy)
    content = memoryview(data)[:-_DIGEST_BYTES]
    if hashlib.sha256(content).digest() != data[-_DIGEST_BYTES:]:
        raise _damaged("bytes of another SHA-256", "the one at its end")
    # A right digest says that the bytes are whole, not that they were written by this module.
    most = min(MOST_HEADER_BYTES, len(content) - _START.size)
    if header_size > most:
        raise _damaged(f"a header of {header_size} bytes", f"at most {most}")
    end = _START.size + header_size
    return _parsed(bytes(content[_START.size : end])), content[end:]


def _parsed(header: bytes) -> dict[str, Any]:
    try:
        found = json.loads(header.decode("utf-8"))
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str | int) for value in found.values()):
        raise _damaged("a header that is no JSON object of texts and numbers", "the one that was written")
    return found


def _check_model(header: dict[str, Any], contract: Contract, any_weights: bool) -> None:
    expected = _header(contract)
    differing = [name for name in (*_SIZES, "nonlinearity") if header.get(name) != expected.get(name)]
    if differing:
        got, wanted = (", ".join(f"{name} {values.get(name)!r}" for name in differing) for values in (header, expected))
        raise _unfit("snapshot of another model", got, wanted)
    weights = header.get("weights_sha256")
    if not any_weights and weights != contract.source.weights_sha256:
        raise SnapshotError(
            "snapshot of another model",
            got=f"weights {str(weights)[:12]!r}…",
            expected=f"weights {contract.source.weights_sha256[:12]!r}…",
            remedy="restore it on the model it was taken from, or with any_weights=True on one that goes on from it",
        )


def _unfit(subject: str, got: str, expected: str) -> SnapshotError:
    return SnapshotError(
        subject, got=got, expected=expected, remedy="give what snapshot() of a stream of this model gave"
    )


def _damaged(got: str, expected: str) -> SnapshotError:
    return SnapshotError("damaged snapshot", got=got, expected=expected, remedy="take an earlier copy, or start anew")
