"""How many parts and how much text an ONNX file has, told before protobuf makes objects of it.

A file of 2 MB can have a million parts, and every reader keeps copies of each name and text of its own.

https://onnx.ai/onnx/repo-docs/IR.html; the field numbers are those of onnx.proto.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from rnnx_runtime.errors import FileDamagedError
from rnnx_runtime.files.protobuf import LENGTH_DELIMITED, fields

MOST_PARTS, BYTES_PER_PART = 200_000, 32
"""A file may have so many parts, and one more for so many bytes: protobuf takes about 100 bytes for an empty one."""

MOST_NODES = 200_000
"""Nodes of all graphs together: many times what the largest recurrent models have."""

MOST_TEXT, OTHERS_PER_TEXT = 2**23, 4
"""Bytes of names, documentation and metadata together: a vocabulary has less; and one more for so many other bytes."""

LONGEST_NAME = 2**16
"""Bytes of a single name; the scopes that exporters put into names come to hundreds."""

_LARGEST_FIELD, _MOST_UNKNOWN = 30, 1_000
"""No message of ONNX has a field of a larger number; so many of them are not a newer ONNX's."""

DEEPEST = 100
"""Messages inside each other; protobuf's own parsers stop there too."""

_LEAF, _NAME, _TEXT = "part", "name", "text"

_PARTS: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 8: _LEAF, 14: _LEAF, 20: "TrainingInfoProto", 25: "FunctionProto", 26: _LEAF},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto", 3: _LEAF, 4: _LEAF},
    "FunctionProto": {7: "NodeProto", 9: _LEAF, 11: "AttributeProto", 12: "ValueInfoProto", 14: _LEAF},
    "GraphProto": {
        1: "NodeProto",
        5: "TensorProto",
        11: "ValueInfoProto",
        12: "ValueInfoProto",
        13: "ValueInfoProto",
        14: _LEAF,
        15: "SparseTensorProto",
        16: _LEAF,
    },
    "NodeProto": {5: "AttributeProto", 9: _LEAF, 10: _LEAF},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        14: "TypeProto",
        15: "TypeProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: _LEAF, 16: _LEAF},
    "ValueInfoProto": {2: "TypeProto", 4: _LEAF},
    "TypeProto": {1: "TypeOfTensor", 4: "TypeProto", 5: "TypeProto", 8: "TypeOfTensor", 9: "TypeProto"},
    "TypeOfTensor": {2: "TensorShapeProto"},
    "TensorShapeProto": {1: _LEAF},
}
"""Each message that holds others: its field numbers, and the messages in them."""

_VALUES: Mapping[str, frozenset[int]] = {
    "AttributeProto": frozenset({4, 7, 8, 9}),
    "TensorProto": frozenset({1, 4, 5, 6, 7, 9, 10, 11}),
    "SparseTensorProto": frozenset({3}),
}
"""The fields of each message that are numbers and bytes; what else is neither those nor a message is text."""

_DOCUMENTATION: Mapping[str, int] = {
    "ModelProto": 6, "FunctionProto": 8, "GraphProto": 10, "NodeProto": 6, "AttributeProto": 13, "TensorProto": 12,
    "ValueInfoProto": 3,
}  # fmt: skip
"""The field that may be as long as all texts may."""


def refuse_swollen(path: Path, data: bytes) -> None:
    """Refuse a file of more parts or nodes than a model has.

    Raises:
        FileDamagedError: it has more, is nested deeper than protobuf reads, or is no protobuf.
    """
    most = MOST_PARTS + len(data) // BYTES_PER_PART
    parts = nodes = texts = 0
    walks = [_inner(data, "ModelProto", 0, len(data))]
    try:
        while walks:
            found = next(walks[-1], None)
            if found is None:
                walks.pop()
                continue
            kind, start, end = found
            if kind in (_NAME, _TEXT):
                texts += end - start
                if kind == _NAME and end - start > LONGEST_NAME:
                    raise _no_model(path, f"a name of {end - start:,} bytes")
                continue
            parts, nodes = parts + 1, nodes + (kind == "NodeProto")
            if parts > most or nodes > MOST_NODES:
                got = f"more than {MOST_NODES:,} nodes" if nodes > MOST_NODES else f"more than {most:,} parts"
                raise _no_model(path, got)
            if kind not in _PARTS:
                texts += end - start
            elif len(walks) == DEEPEST:
                raise _no_model(path, f"messages nested deeper than {DEEPEST} levels")
            else:
                walks.append(_inner(data, kind, start, end))
    except ValueError as error:
        raise _no_model(path, f"bytes that are no protobuf: {error}") from None
    if texts > MOST_TEXT + (len(data) - texts) // OTHERS_PER_TEXT:
        raise _no_model(path, f"{texts:,} bytes of names, documentation and metadata in {len(data):,} bytes")


def _inner(data: bytes, kind: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """What a message holds of other messages and of texts: what it is, where it begins and where it ends."""
    inner, values, documentation, unknown = _PARTS[kind], _VALUES.get(kind, ()), _DOCUMENTATION.get(kind), 0
    for number, wire_type, begin, stop in fields(data, start, end):
        unknown += number > _LARGEST_FIELD
        if unknown > _MOST_UNKNOWN:
            raise ValueError(f"more than {_MOST_UNKNOWN:,} fields that ONNX does not know")
        if wire_type == LENGTH_DELIMITED and number not in values:
            yield inner.get(number) or (_TEXT if number == documentation else _NAME), begin, stop


def _no_model(path: Path, got: str) -> FileDamagedError:
    return FileDamagedError(str(path), got=got, expected="a whole ONNX file", remedy="copy or export it again")
