"""The metadata of an ONNX model, read without the onnx package: https://onnx.ai/onnx/repo-docs/MetadataProps.html"""

from rnnx_runtime.files.protobuf import LENGTH_DELIMITED, fields

LARGEST_VALUE = 2**20
"""Bytes; a contract has about a thousand."""

_METADATA_PROPS = 14  # field of ModelProto
_KEY, _VALUE = 1, 2  # fields of StringStringEntryProto


def metadata_value(model: bytes, key: str) -> bytes:
    """The value under one key in a serialized ModelProto's `metadata_props`.

    Raises:
        ValueError: the bytes are no protobuf message, the key is not there exactly once, or its value is too large.
    """
    values = [value for name, value in _entries(model) if name == key.encode()]
    if len(values) != 1:
        raise ValueError(f"metadata with {len(values)} values for {key!r}")
    if len(values[0]) > LARGEST_VALUE:
        raise ValueError(f"metadata of {len(values[0])} bytes under {key!r}")
    return values[0]


def _entries(model: bytes) -> list[tuple[bytes, bytes]]:
    return [
        _entry(model, start, end)
        for number, wire_type, start, end in fields(model, 0, len(model))
        if number == _METADATA_PROPS and wire_type == LENGTH_DELIMITED
    ]


def _entry(model: bytes, start: int, end: int) -> tuple[bytes, bytes]:
    texts = {_KEY: b"", _VALUE: b""}
    for number, wire_type, begin, stop in fields(model, start, end):
        if number in texts and wire_type == LENGTH_DELIMITED:
            texts[number] = model[begin:stop]
    return texts[_KEY], texts[_VALUE]
