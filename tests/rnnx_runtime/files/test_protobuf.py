import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from rnnx_runtime.files.protobuf import FIXED32, FIXED64, LENGTH_DELIMITED, VARINT, fields, varint


def found(data: bytes) -> list[tuple[int, int, bytes]]:
    return [(number, wire_type, data[start:end]) for number, wire_type, start, end in fields(data, 0, len(data))]


def test_every_wire_type_is_passed_by_its_length() -> None:
    data = b"\x08\x96\x01" + b"\x11" + b"8 bytes." + b"\x1a\x03abc" + b"\x25" + b"four" + b"\x82\x01\x00"
    assert found(data) == [
        (1, VARINT, b"\x96\x01"),
        (2, FIXED64, b"8 bytes."),
        (3, LENGTH_DELIMITED, b"abc"),
        (4, FIXED32, b"four"),
        (16, LENGTH_DELIMITED, b""),
    ]


def test_a_message_within_another_ends_where_it_ends() -> None:
    data = b"\x0a\x02\x08\x01\x10\x07"
    assert [(number, start, end) for number, _, start, end in fields(data, 2, 4)] == [(1, 3, 4)]


@settings(deadline=None, database=None, derandomize=True, max_examples=100)
@given(value=st.integers(0, 2**63 - 1), name=st.text(max_size=300), raw=st.binary(max_size=300))
def test_the_fields_are_those_that_protobuf_wrote(value: int, name: str, raw: bytes) -> None:
    data = TensorProto(dims=[value], name=name, raw_data=raw, double_data=[1.5]).SerializeToString()
    values = {number: bytes_ for number, _, bytes_ in found(data)}
    assert varint(values[1], 0, len(values[1])) == (value, len(values[1]))
    assert values.get(8, b"") == name.encode()
    assert values.get(9, b"") == raw


@settings(deadline=None, database=None, derandomize=True, max_examples=500)
@given(st.binary(max_size=60))
def test_any_bytes_are_walked_to_their_end_or_refused(data: bytes) -> None:
    try:
        walked = list(fields(data, 0, len(data)))
    except ValueError:
        return
    assert all(start <= end for _, _, start, end in walked)
    assert max((end for _, _, _, end in walked), default=0) == len(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"\x0a\x05abcd", "runs past the end", id="length-past-end"),
        pytest.param(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "runs past the end", id="length-huge"),
        pytest.param(b"\x11seven..", "runs past the end", id="fixed64-past-end"),
        pytest.param(b"\x25abc", "runs past the end", id="fixed32-past-end"),
        pytest.param(b"\x08", "without an end", id="value-missing"),
        pytest.param(b"\x80", "without an end", id="tag-unfinished"),
        pytest.param(b"\x08" + b"\xff" * 11, "without an end", id="number-too-long"),
        pytest.param(b"\x00\x01", "no field's tag", id="field-zero"),
        pytest.param(b"\xba\x80\x80\x80\x10\x00", "no field's tag", id="tag-of-33-bits"),
        pytest.param(b"\x0b\x0c", "wire type 3", id="group"),
        pytest.param(b"\x0c", "wire type 4", id="group-end"),
        pytest.param(b"\x0e", "wire type 6", id="wire-type-unknown"),
    ],
)
def test_what_is_no_message_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        found(data)


def test_a_value_that_leaves_its_own_message_is_refused() -> None:
    with pytest.raises(ValueError, match="runs past the end"):
        list(fields(b"\x0a\x03\x0a\x02ab", 2, 5))


def test_a_whole_model_is_a_message() -> None:
    data = onnx.ModelProto(ir_version=8, producer_name="rnnx").SerializeToString()
    assert [number for number, _, _ in found(data)] == [1, 2]
