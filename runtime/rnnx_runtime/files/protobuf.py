"""The fields of a protobuf message, found without its schema: https://protobuf.dev/programming-guides/encoding/."""

from collections.abc import Iterator

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
"""Wire types; the groups 3 and 4 are in no ONNX file."""

_LONGEST_VARINT = 10
_TAG_LIMIT = 1 << 32  # a decoder that keeps the low 32 bits would see another field


def fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Each field of the message in `data[start:end]` as its number, wire type, and the value's start and end.

    Values are skipped by their lengths, never looked at.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    while start < end:
        tag = data[start]
        if tag < 0x80:  # most are of one byte, and a call for each takes as long as all the rest
            start += 1
        else:
            tag, start = varint(data, start, end)
        if not 8 <= tag < _TAG_LIMIT:
            raise ValueError(f"no field's tag before byte {start}")
        start, stop = _extent(tag & 7, data, start, end)
        if stop > end:
            raise ValueError(f"a value at byte {start} that runs past the end of its message")
        yield tag >> 3, tag & 7, start, stop
        start = stop


def varint(data: bytes, start: int, end: int) -> tuple[int, int]:
    """The whole number in base 128 at `start`, and where it ends.

    Raises:
        ValueError: it has no end within the message, or more groups than a number of 64 bits.
    """
    value = shift = 0
    for place in range(start, min(end, start + _LONGEST_VARINT)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise ValueError(f"a number at byte {start} without an end")


def _extent(wire_type: int, data: bytes, start: int, end: int) -> tuple[int, int]:
    match wire_type:
        case 0:
            return start, varint(data, start, end)[1]
        case 1:
            return start, start + 8
        case 2:
            if start < end and data[start] < 0x80:
                return start + 1, start + 1 + data[start]
            size, start = varint(data, start, end)
            return start, start + size
        case 5:
            return start, start + 4
    raise ValueError(f"wire type {wire_type} before byte {start}, which no ONNX file has")
