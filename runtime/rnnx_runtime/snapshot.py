"""The states of one stream as bytes, to go on from on any backend and in any form of the same model.

The layout, all numbers little-endian:

    offset   bytes       content
    0        8           magic, `b"RNNXSNAP"`
    8        2           format version, uint16
    10       2           K, the header's length, uint16
    12       K           header: JSON in UTF-8, an object of `states`, `layers`, `precision` and `weights_sha256`
    12 + K   …           the values of each state in C order, in the order of the header
    end - 32 32          SHA-256 over all bytes before it

`layers` says the kind and the sizes of each recurrent layer. `states` is a list of `[name, dtype, shape]`: the input
that takes the state, and the shape of one row, without the axis of the batch and without leading axes of 1, so that a
cell and a layer of one are the same. Any value is a state, NaN too. The digest finds damage; it does not tell who wrote
the bytes.
"""

import hashlib
import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract, Dim, Recurrence, TensorSpec
from rnnx_runtime.errors import InputError, SnapshotError

Entry = tuple[str, str, tuple[int, ...]]
"""A state in a header: its name, dtype and row shape."""

VERSION = 2
MOST_HEADER_BYTES = 2**16 - 1

_MAGIC = b"RNNXSNAP"
_START = struct.Struct("<8sHH")
_DIGEST_BYTES = 32


def snapshot_from_state(rows: Sequence[Array], contract: Contract) -> bytes:
    """One stream's state as bytes.

    Args:
        rows: each state in the order of `contract.states`, without the axis of the batch.
        contract: the model whose state it is.

    Raises:
        InputError: a row has another dtype or shape.
        SnapshotError: the contract's texts are longer than a header may be.
    """
    specs = contract.state_specs
    if len(rows) != len(specs) or not all(_is_row(row, spec) for row, spec in zip(rows, specs, strict=True)):
        got = ", ".join(f"{row.dtype} {row.shape}" for row in rows)
        expected = ", ".join(f"{spec.name} {spec.dtype} {_row_dims(spec)}" for spec in specs)
        raise InputError("state of a snapshot", got=got, expected=expected, remedy="give the state of one stream")
    states = [[spec.name, spec.dtype, without_leading_ones(row.shape)] for spec, row in zip(specs, rows, strict=True)]
    header = json.dumps({"states": states, **_facts(contract)}, separators=(",", ":")).encode()
    if len(header) > MOST_HEADER_BYTES:
        raise _unfit("snapshot", f"a header of {len(header)} bytes", f"at most {MOST_HEADER_BYTES}")
    values = [
        row.astype(np.dtype(spec.dtype).newbyteorder("<")).tobytes() for row, spec in zip(rows, specs, strict=True)
    ]
    content = b"".join([_START.pack(_MAGIC, VERSION, len(header)), header, *values])
    return content + hashlib.sha256(content).digest()


def state_from_snapshot(
    data: bytes | bytearray | memoryview, contract: Contract, *, any_weights: bool = False
) -> tuple[Array, ...]:
    """The state in a snapshot, checked against the model that is to go on from it.

    Args:
        data: what `snapshot_from_state` gave.
        contract: the model.
        any_weights: take a snapshot of a model with other weights too, such as one that was trained again.

    Returns:
        Each state in the order of `contract.states`, without the axis of the batch; arrays of their own.

    Raises:
        SnapshotError: no snapshot, of another format version, damaged, or of another model.
    """
    data = _bytes_of(data)
    header, values = _opened(data)
    entries = _entries(header)
    _check_model(header, entries, contract, any_weights)
    sizes = [np.dtype(dtype).itemsize * math.prod(shape) for _, dtype, shape in entries]
    if len(values) != sum(sizes):
        raise _damaged(f"{len(values)} bytes of values", f"{sum(sizes)}, for the sizes in its header")
    rows, start = list[Array](), 0
    for spec, (_, dtype, shape), size in zip(contract.state_specs, entries, sizes, strict=True):
        own = np.frombuffer(values[start : start + size], np.dtype(dtype).newbyteorder("<"))
        ones = (1,) * (len(spec.dims) - 1 - len(shape))
        rows.append(own.reshape((*ones, *shape)).astype(dtype))
        start += size
    return tuple(rows)


def _facts(contract: Contract) -> dict[str, Any]:
    layers = [_kind(own) for own in contract.recurrent]
    return {"layers": layers, "precision": contract.precision, "weights_sha256": contract.source.weights_sha256}


def _kind(own: Recurrence) -> str:
    """What a layer must share with a snapshot's; its form, precision and formulation may differ."""
    kind = own.cell if own.nonlinearity is None else f"{own.cell} ({own.nonlinearity})"
    sizes = f"input {own.input_size}, hidden {own.hidden_size}, h {own.projection_size}"
    return f"{kind}, {sizes}, {own.layers} layers, {own.directions} directions"


def _row_dims(spec: TensorSpec) -> tuple[Dim, ...]:
    return tuple(dim for dim in spec.dims if dim != "B")


def _is_row(row: Array, spec: TensorSpec) -> bool:
    dims = _row_dims(spec)
    return (
        row.dtype == spec.dtype
        and row.ndim == len(dims)
        and all(isinstance(dim, str) or size == dim for size, dim in zip(row.shape, dims, strict=True))
    )


def _entries(header: dict[str, Any]) -> list[Entry]:
    """The states that a header lists, each value of the type it must be."""
    found = header.get("states")
    entries: list[Entry] = []
    for entry in found if isinstance(found, list) else [None]:
        match entry:
            case [str(name), str(dtype), list(shape)] if all(type(size) is int and size >= 0 for size in shape):
                entries.append((name, dtype, tuple(shape)))
            case _:
                raise _damaged("a header without its list of states", "the one that was written")
    return entries


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
        remedy = (
            "use the version of rnnx that wrote it" if version > VERSION else "begin the stream anew: it is too old"
        )
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
    if not isinstance(found, dict):
        raise _damaged("a header that is no JSON object", "the one that was written")
    return found


def _check_model(header: dict[str, Any], entries: Sequence[Entry], contract: Contract, any_weights: bool) -> None:
    specs = contract.state_specs
    if len(entries) != len(specs) or not all(_is_of(entry, spec) for entry, spec in zip(entries, specs, strict=True)):
        got = ", ".join(f"{name} {dtype} {shape}" for name, dtype, shape in entries)
        wanted = ", ".join(f"{spec.name} {spec.dtype} {without_leading_ones(_row_dims(spec))}" for spec in specs)
        raise _unfit("snapshot of another model", got or "no states", wanted)
    facts = _facts(contract)
    if header.get("layers") != facts["layers"]:
        other = header.get("layers")
        shown = "; ".join(map(str, other)) if isinstance(other, list) else type(other).__name__
        raise _unfit("snapshot of another model", shown, "; ".join(facts["layers"]))
    weights = header.get("weights_sha256")
    if not any_weights and weights != facts["weights_sha256"]:
        raise SnapshotError(
            "snapshot of another model",
            got=f"weights {str(weights)[:12]!r}…",
            expected=f"weights {facts['weights_sha256'][:12]!r}…",
            remedy="restore it on the model it was taken from, or with any_weights=True on one that goes on from it",
        )


def _is_of(entry: Entry, spec: TensorSpec) -> bool:
    name, dtype, shape = entry
    dims = without_leading_ones(_row_dims(spec))
    return (name, dtype, len(shape)) == (spec.name, spec.dtype, len(dims)) and all(
        isinstance(dim, str) or size == dim for size, dim in zip(shape, dims, strict=True)
    )


def without_leading_ones(dims: tuple[Any, ...]) -> tuple[Any, ...]:
    """Dims without leading axes of 1, but for the last axis: a cell's row and that of a layer of one are the same."""
    while len(dims) > 1 and dims[0] == 1:
        dims = dims[1:]
    return dims


def _unfit(subject: str, got: str, expected: str) -> SnapshotError:
    return SnapshotError(
        subject, got=got, expected=expected, remedy="give what snapshot() of a stream of this model gave"
    )


def _damaged(got: str, expected: str) -> SnapshotError:
    return SnapshotError("damaged snapshot", got=got, expected=expected, remedy="take an earlier copy, or start anew")
