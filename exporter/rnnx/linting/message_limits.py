"""How many parts and how much text an ONNX file has, told before protobuf makes objects of it.

A file of 2 MB can have a million parts, and every reader keeps copies of each name and text of its own.

https://onnx.ai/onnx/repo-docs/IR.html; the field numbers are those of onnx.proto.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rnnx_runtime.errors import FileDamagedError
from rnnx_runtime.files.protobuf import LENGTH_DELIMITED, fields
from rnnx_runtime.files.seal import is_sealed

MOST_PARTS, BYTES_PER_PART = 200_000, 32
"""A file may have so many parts, and one more for so many bytes: protobuf takes about 100 bytes for an empty one."""

MOST_NODES = 8_000
"""Nodes of all graphs together: every command examines, proves or times so many within seconds."""

MOST_FOREIGN = {
    "NodeProto": MOST_NODES,
    "ValueInfoProto": 20_000,
    "TensorProto": 20_000,
    "SparseTensorProto": 1_000,
    "FunctionProto": 2_000,
}
"""Messages of a kind in another exporter's file, which is analysed and tried out.

So many can be tried out within the memory that a file may take; every file of docs/foreign-files.md has fewer.
"""

MOST_SEALED = {"NodeProto": MOST_NODES}
"""The same under a seal of rnnx, which anybody can forge."""

MOST_TEXT, OTHERS_PER_TEXT = 2**23, 4
"""Bytes of names, documentation and metadata together: a vocabulary has less; and one more for so many other bytes."""

LONGEST_NAME, MOST_NAMES = 2**16, 10_000
"""Bytes of a single name, and names that one message lists, such as a node's inputs: exporters come to hundreds."""

MOST_LISTED, MOST_VALUES = 2**19, 2**22
"""Bytes of numbers in base 128 in attributes' lists and dims, and in tensors: one byte becomes eight in memory."""

MOST_STRINGS = 200_000
"""Strings as values, such as a vocabulary's words."""

_LARGEST_FIELD, _MOST_UNKNOWN = 30, 1_000
"""No message of ONNX has a field of a larger number; so many of them are not a newer ONNX's."""

DEEPEST = 100
"""Messages inside each other; protobuf's own parsers stop there too."""

_LEAF = "part"
_GRAPH_OF_MODEL = 7

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

_NUMBERS: Mapping[str, Mapping[int, int]] = {
    "AttributeProto": {8: MOST_LISTED},
    "TensorProto": {1: MOST_LISTED, 5: MOST_VALUES, 7: MOST_VALUES, 11: MOST_VALUES},
}
"""The fields of each message with numbers in base 128, and how many bytes of them a file may have."""

_STRINGS: Mapping[str, int] = {"AttributeProto": 9, "TensorProto": 6}
"""The field of each message that lists strings as values."""

_DOCUMENTATION: Mapping[str, int] = {
    "ModelProto": 6, "FunctionProto": 8, "GraphProto": 10, "NodeProto": 6, "AttributeProto": 13, "TensorProto": 12,
    "ValueInfoProto": 3,
}  # fmt: skip
"""The field that may be as long as all texts may."""


def refuse_swollen(path: Path, data: bytes) -> None:
    """Refuse a file of more parts, nodes, names, text or numbers than a model has.

    Raises:
        FileDamagedError: it has more, is nested deeper than protobuf reads, or is no protobuf.
    """
    most_of = MOST_SEALED if is_sealed(data) else MOST_FOREIGN
    tally = _Tally(most_parts=MOST_PARTS + len(data) // BYTES_PER_PART, most_of=most_of)
    walks = [_inner(data, "ModelProto", 0, len(data), tally)]
    try:
        while walks:
            found = next(walks[-1], None)
            if found is None:
                walks.pop()
                continue
            kind, start, end = found
            tally.add_part(kind, end - start)
            if kind in _PARTS:
                if len(walks) == DEEPEST:
                    raise _SwollenError(f"messages nested deeper than {DEEPEST} levels")
                walks.append(_inner(data, kind, start, end, tally))
        tally.refuse_texts(len(data))
    except _LongError as error:
        raise FileDamagedError(
            str(path),
            got=str(error),
            expected="a graph that can be tried out within seconds",
            remedy="export the recurrence as a layer, a Scan or a Loop, not step by step",
        ) from None
    except _SwollenError as error:
        raise _no_model(path, str(error)) from None
    except ValueError as error:
        raise _no_model(path, f"bytes that are no protobuf: {error}") from None


class _SwollenError(Exception):
    """A file has more of something than a model has."""


class _LongError(_SwollenError):
    """A file has so many nodes as a recurrence that was written out step by step."""


@dataclass(kw_only=True)
class _Tally:
    """What was counted so far; every method raises _SwollenError where it is too much."""

    most_parts: int
    most_of: Mapping[str, int]
    parts: int = 0
    texts: int = 0
    strings: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    numbers: Counter[tuple[str, int]] = field(default_factory=Counter)

    def add_part(self, kind: str, size: int) -> None:
        self.parts += 1
        self.kinds[kind] += 1
        if kind == _LEAF:
            self.texts += size
        if kind in self.most_of and self.kinds[kind] > self.most_of[kind]:
            error = _LongError if kind == "NodeProto" else _SwollenError
            raise error(f"more than {self.most_of[kind]:,} {_shown(kind)}")
        if self.parts > self.most_parts:
            raise _SwollenError(f"more than {self.most_parts:,} parts")

    def add_text(self, size: int, *, is_name: bool) -> None:
        self.texts += size
        if is_name and size > LONGEST_NAME:
            raise _SwollenError(f"a name of {size:,} bytes")

    def add_string(self) -> None:
        self.strings += 1
        if self.strings > MOST_STRINGS:
            raise _SwollenError(f"more than {MOST_STRINGS:,} strings")

    def add_numbers(self, kind: str, number: int, size: int) -> None:
        self.numbers[kind, number] += size
        if self.numbers[kind, number] > _NUMBERS[kind][number]:
            raise _SwollenError(f"more than {_NUMBERS[kind][number]:,} bytes of whole numbers one by one")

    def refuse_texts(self, size: int) -> None:
        if self.texts > MOST_TEXT + (size - self.texts) // OTHERS_PER_TEXT:
            raise _SwollenError(f"{self.texts:,} bytes of names, documentation and metadata in {size:,} bytes")


def _inner(data: bytes, kind: str, start: int, end: int, tally: _Tally) -> Iterator[tuple[str, int, int]]:
    """The messages in a message: what each is, where it begins and where it ends; all else is counted."""
    inner, values, numbers = _PARTS[kind], _VALUES.get(kind, ()), _NUMBERS.get(kind, ())
    documentation, strings, graphs, names, unknown = _DOCUMENTATION.get(kind), _STRINGS.get(kind), 0, 0, 0
    for number, wire_type, begin, stop in fields(data, start, end):
        if number > _LARGEST_FIELD:
            unknown += 1
            if unknown > _MOST_UNKNOWN:
                raise ValueError(f"more than {_MOST_UNKNOWN:,} fields that ONNX does not know")
        if number in numbers:
            tally.add_numbers(kind, number, stop - begin)
        elif number == strings:
            tally.add_string()
        elif wire_type == LENGTH_DELIMITED and number in inner:
            graphs += kind == "ModelProto" and number == _GRAPH_OF_MODEL
            if graphs > 1:
                raise _SwollenError("more than one graph")
            yield inner[number], begin, stop
        elif wire_type == LENGTH_DELIMITED and number not in values:
            names += 1
            if names > MOST_NAMES:
                raise _SwollenError(f"more than {MOST_NAMES:,} names in one part")
            tally.add_text(stop - begin, is_name=number != documentation)


def _shown(kind: str) -> str:
    return {"NodeProto": "nodes", "TensorProto": "tensors", "FunctionProto": "functions"}.get(kind, f"of {kind}")


def _no_model(path: Path, got: str) -> FileDamagedError:
    return FileDamagedError(str(path), got=got, expected="a whole ONNX file", remedy="copy or export it again")
