"""The tensors of an ONNX graph whose values lie in another file.

An engine opens the file that the protobuf names, whatever the contract says, so every such name is read here first:
https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rnnx_runtime.errors import ContractError
from rnnx_runtime.files.protobuf import LENGTH_DELIMITED, VARINT, fields, varint

PARTS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
}
"""Each message that can hold a tensor: its field numbers, and the messages in them. See onnx.proto."""

DEEPEST = 100
"""Messages inside each other; protobuf's own parsers stop there too."""

MOST_PARTS = 500_000
"""Nodes, tensors and what holds them in a file; an export of rnnx has thousands, the largest decoder 100,000."""

_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14  # fields of TensorProto
_EXTERNAL = 1
_KEY, _VALUE = 1, 2  # fields of StringStringEntryProto
_KEYS = ("location", "offset", "length", "checksum")
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ExternalTensor:
    """A tensor that names another file: the texts as the protobuf has them, empty where it has none."""

    name: str
    location: str
    offset: str
    length: str


def external_tensors(model: bytes) -> list[ExternalTensor]:
    """Every external tensor of a serialized ModelProto, those of subgraphs, attributes and functions too.

    Raises:
        ValueError: the bytes are no protobuf message or one nested deeper than `DEEPEST` or of more than `MOST_PARTS`,
            or a tensor's external data has a key that ONNX does not know, a key twice, or text that is not UTF-8.
    """
    found: list[ExternalTensor] = []
    parts = 0
    walks = [_parts(model, "ModelProto", 0, len(model))]
    while walks:
        part = next(walks[-1], None)
        if part is None:
            walks.pop()
            continue
        kind, start, end = part
        parts += 1
        if parts > MOST_PARTS:
            raise ValueError(f"more than {MOST_PARTS:,} parts")
        if kind == "TensorProto":
            found += _external(model, start, end)
        elif len(walks) == DEEPEST:
            raise ValueError(f"messages nested deeper than {DEEPEST} levels")
        # A node is by far the most frequent message: one without the key that every location has is passed by.
        elif kind != "NodeProto" or model.find(b"location", start, end) >= 0:
            walks.append(_parts(model, kind, start, end))
    return found


def external_size(tensors: list[ExternalTensor], file: str, subject: str) -> int:
    """Bytes that a model's tensors take in its one file of external data.

    Raises:
        ContractError: a tensor names another file, an offset or a length that is no number.
    """
    size = 0
    for tensor in tensors:
        if tensor.location != file:
            raise _refusal(subject, tensor, f"external data at {tensor.location[:200]!r}", f"{file!r}")
        if not (_NUMBER.fullmatch(tensor.offset or "0") and _NUMBER.fullmatch(tensor.length)):
            got = f"external data at offset {tensor.offset[:30]!r} of length {tensor.length[:30]!r}"
            raise _refusal(subject, tensor, got, "whole numbers")
        size = max(size, int(tensor.offset or "0") + int(tensor.length))
    return size


def refuse_external(tensors: list[ExternalTensor], subject: str) -> None:
    """Refuse every external tensor, for a model whose contract names no such file.

    Raises:
        ContractError: there is one.
    """
    for tensor in tensors:
        raise _refusal(subject, tensor, f"external data at {tensor.location[:200]!r}", "none, as its contract says")


def _parts(data: bytes, kind: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    inner = PARTS[kind]
    for number, wire_type, begin, stop in fields(data, start, end):
        if wire_type == LENGTH_DELIMITED and number in inner:
            yield inner[number], begin, stop


def _external(data: bytes, start: int, end: int) -> Iterator[ExternalTensor]:
    texts: dict[str, str] = {}
    name, is_external = "", False
    for number, wire_type, begin, stop in fields(data, start, end):
        if number == _EXTERNAL_DATA and wire_type == LENGTH_DELIMITED:
            key, value = _entry(data, begin, stop)
            if key not in _KEYS or key in texts:
                raise ValueError(f"external data with the key {key[:30]!r}, or with it twice")
            texts[key] = value
        elif number == _DATA_LOCATION and wire_type == VARINT:
            is_external |= varint(data, begin, stop)[0] & 0xFFFFFFFF == _EXTERNAL
        elif number == _NAME and wire_type == LENGTH_DELIMITED:
            name = data[begin:stop].decode("utf-8", "replace")
    if texts or is_external:
        location, offset, length = (texts.get(key, "") for key in _KEYS[:3])
        yield ExternalTensor(name=name, location=location, offset=offset, length=length)


def _entry(data: bytes, start: int, end: int) -> tuple[str, str]:
    texts = {_KEY: "", _VALUE: ""}
    for number, wire_type, begin, stop in fields(data, start, end):
        if number in texts and wire_type == LENGTH_DELIMITED:
            texts[number] = data[begin:stop].decode()  # of a field given twice, every parser takes the last
    return texts[_KEY], texts[_VALUE]


def _refusal(subject: str, tensor: ExternalTensor, got: str, expected: str) -> ContractError:
    return ContractError(
        f"tensor {tensor.name[:100]!r} of {subject}", got=got, expected=expected, remedy="export the model again"
    )
