import dataclasses
import hashlib
import json
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.contracts import changed

from rnnx_runtime import Contract, InputError, SnapshotError
from rnnx_runtime.contract import Source
from rnnx_runtime.snapshot import MOST_HEADER_BYTES, snapshot_from_state, state_from_snapshot

Array = NDArray[Any]

START = struct.Struct("<8sHH")
TAKE = "give what snapshot() of a stream of this model gave"
ANEW = "take an earlier copy, or start anew"


@pytest.fixture
def lstm(contract: Contract) -> Contract:
    """A two-layer LSTM encoder in one direction: I=10, H=4."""
    return changed(contract, directions=1)


def state(contract: Contract, seed: int = 0) -> tuple[Array, ...]:
    chance = np.random.default_rng(seed)
    shapes = [[int(dim) for dim in spec.dims if dim != "B"] for spec in contract.state_specs]
    return tuple(chance.standard_normal(shape, np.float32) for shape in shapes)


def sealed(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


def with_header(data: bytes, header: bytes, length: int | None = None) -> bytes:
    """The snapshot with another header, under a digest that is right."""
    magic, version, old = START.unpack_from(data)
    values = data[START.size + old : -32]
    return sealed(START.pack(magic, version, len(header) if length is None else length) + header + values)


def with_changes(data: bytes, **changes: Any) -> bytes:
    size = START.unpack_from(data)[2]
    return with_header(data, json.dumps({**json.loads(data[START.size : START.size + size]), **changes}).encode())


def message(data: Any, contract: Contract, **options: Any) -> str:
    with pytest.raises(SnapshotError) as caught:
        state_from_snapshot(data, contract, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="lstm-2"),
        pytest.param({"cell": "gru"}, id="gru-2"),
        pytest.param({"form": "step", "layers": 1}, id="lstm-step"),
        pytest.param({"projection_size": 3}, id="lstm-projected"),
        pytest.param({"cell": "rnn", "nonlinearity": "relu"}, id="rnn"),
        pytest.param({"directions": 2}, id="lstm-bi"),
    ],
)
def test_a_state_comes_back_as_it_was(lstm: Contract, changes: dict[str, Any]) -> None:
    model = changed(lstm, **changes)
    rows = state(model)
    back = state_from_snapshot(snapshot_from_state(rows, model), model)
    for found, row in zip(back, rows, strict=True):
        np.testing.assert_array_equal(found, row)
        assert found.dtype == np.float32
        assert found.flags.owndata


def test_every_value_of_float32_comes_back(lstm: Contract) -> None:
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38, 0, 1], np.float32).reshape(2, 4)
    h, c = state_from_snapshot(snapshot_from_state([special, special[::-1]], lstm), lstm)
    assert h.tobytes() == special.tobytes()
    assert c.tobytes() == special[::-1].tobytes()


def test_the_bytes_of_a_snapshot_stay_the_same(lstm: Contract) -> None:
    source = Source(file="a.pt", module="rnn", weights_sha256="ab" * 32)
    model = changed(lstm, layers=1, input_size=1, hidden_size=2, projection_size=1, source=source)
    rows = [np.array([[1.5]], np.float32), np.array([[-2.0, 0.25]], np.float32)]
    header = (
        b'{"states":[["h0","float32",[1]],["c0","float32",[2]]],'
        b'"layers":["lstm, input 1, hidden 2, h 1, 1 layers, 1 directions"],'
        b'"precision":"float32","weights_sha256":"' + b"ab" * 32 + b'"}'
    )
    values = b"\x00\x00\xc0\x3f\x00\x00\x00\xc0\x00\x00\x80\x3e"
    assert snapshot_from_state(rows, model) == sealed(START.pack(b"RNNXSNAP", 2, len(header)) + header + values)


def test_a_snapshot_does_not_depend_on_how_its_arrays_lie(lstm: Contract) -> None:
    h, c = state(lstm)
    other = [np.asfortranarray(h), np.repeat(c, 2, axis=1)[:, ::2]]
    assert snapshot_from_state(other, lstm) == snapshot_from_state([h, c], lstm)


def test_forms_and_precisions_of_one_model_read_each_others_snapshots(lstm: Contract) -> None:
    encoder = changed(lstm, layers=1)
    step = changed(encoder, form="step", formulation="gates", precision="float16")
    rows = state(encoder)
    cell_rows = [row[0] for row in rows]
    np.testing.assert_array_equal(state_from_snapshot(snapshot_from_state(rows, encoder), step)[0], cell_rows[0])
    np.testing.assert_array_equal(state_from_snapshot(snapshot_from_state(cell_rows, step), encoder)[0], rows[0])


def every_other_byte(data: bytes) -> memoryview:
    """The data in a view that is not contiguous."""
    return memoryview(bytes(value for byte in data for value in (byte, 0)))[::2]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, every_other_byte])
def test_a_snapshot_may_be_any_bytes(lstm: Contract, kind: Callable[[bytes], Any]) -> None:
    h, c = state(lstm)
    found, _ = state_from_snapshot(kind(snapshot_from_state([h, c], lstm)), lstm)
    np.testing.assert_array_equal(found, h)


def test_a_restored_state_is_no_view_of_the_bytes(lstm: Contract) -> None:
    data = bytearray(snapshot_from_state(state(lstm), lstm))
    h, _ = state_from_snapshot(data, lstm)
    before = h.copy()
    data[:] = bytes(len(data))
    np.testing.assert_array_equal(h, before)


@pytest.mark.parametrize(
    ("h", "c", "got"),
    [
        pytest.param((2, 1, 4), (2, 4), "float32 (2, 1, 4), float32 (2, 4)", id="with-batch"),
        pytest.param((2, 4), None, "float32 (2, 4)", id="no-c"),
        pytest.param((2, 4), (1, 4), "float32 (2, 4), float32 (1, 4)", id="layers"),
    ],
)
def test_a_state_of_another_size_is_no_snapshot(
    lstm: Contract, h: tuple[int, ...], c: tuple[int, ...] | None, got: str
) -> None:
    with pytest.raises(InputError) as caught:
        snapshot_from_state([np.zeros(shape, np.float32) for shape in (h, c) if shape is not None], lstm)
    assert str(caught.value) == (
        f"state of a snapshot: got {got}, expected h0 float32 (2, 4), c0 float32 (2, 4); give the state of one stream"
    )


def test_a_state_of_another_dtype_is_no_snapshot(lstm: Contract) -> None:
    with pytest.raises(InputError, match=r"got float64 \(2, 4\), float32 \(2, 4\), expected h0 float32"):
        snapshot_from_state([np.zeros((2, 4)), np.zeros((2, 4), np.float32)], lstm)


def test_a_header_that_could_not_be_read_back_is_not_written(lstm: Contract) -> None:
    with pytest.raises(SnapshotError, match=r"snapshot: got a header of \d+ bytes, expected at most 65535"):
        snapshot_from_state(state(lstm), changed(lstm, precision="x" * MOST_HEADER_BYTES))


@pytest.mark.parametrize(("data", "got"), [(None, "NoneType"), ("text", "str"), (np.zeros(99, "u1"), "ndarray")])
def test_other_things_than_bytes_are_refused(lstm: Contract, data: Any, got: str) -> None:
    assert message(data, lstm) == f"snapshot: got {got}, expected bytes, a bytearray or a memoryview; {TAKE}"


@pytest.mark.parametrize("size", [0, 1, 43])
def test_too_few_bytes_are_refused(lstm: Contract, size: int) -> None:
    data = snapshot_from_state(state(lstm), lstm)[:size]
    assert message(data, lstm) == f"damaged snapshot: got {size} bytes, expected at least 44; {ANEW}"


def test_data_with_another_magic_is_refused(lstm: Contract) -> None:
    data = b"\x89PNG\r\n\x1a\n" + bytes(100)
    assert message(data, lstm) == (
        rf"snapshot: got data that starts with b'\x89PNG\r\n\x1a\n', expected b'RNNXSNAP'; {TAKE}"
    )


def test_another_format_version_is_refused(lstm: Contract) -> None:
    data = snapshot_from_state(state(lstm), lstm)
    assert message(data[:8] + b"\x03\x00" + data[10:], lstm) == (
        "snapshot: got format 3, expected format 2; use the version of rnnx that wrote it"
    )
    assert message(data[:8] + b"\x01\x00" + data[10:], lstm) == (
        "snapshot: got format 1, expected format 2; begin the stream anew: it is too old"
    )


def test_every_flipped_bit_is_found(lstm: Contract) -> None:
    data = snapshot_from_state(state(lstm), lstm)
    for place in range(len(data)):
        wrong = bytearray(data)
        wrong[place] ^= 1 << place % 8
        assert "SnapshotError" in repr(_caught(wrong, lstm)), place
    assert message(data[:-1] + bytes([data[-1] ^ 1]), lstm) == (
        f"damaged snapshot: got bytes of another SHA-256, expected the one at its end; {ANEW}"
    )


def _caught(data: bytearray, contract: Contract) -> Exception | None:
    try:
        state_from_snapshot(data, contract, any_weights=True)
    except SnapshotError as error:
        return error
    return None


def test_every_truncation_is_found(lstm: Contract) -> None:
    data = snapshot_from_state(state(lstm), lstm)
    for size in range(len(data)):
        message(data[:size], lstm)
    message(data + b"\0", lstm)


NO_LIST = "a header without its list of states"


@pytest.mark.parametrize(
    ("header", "length", "got"),
    [
        pytest.param(b"{}", 65535, "a header of 65535 bytes, expected at most 66", id="longer-than-the-data"),
        pytest.param(b"{", None, "a header that is no JSON object", id="no-json"),
        pytest.param(b"\xff", None, "a header that is no JSON object", id="no-utf-8"),
        pytest.param(b"[1]", None, "a header that is no JSON object", id="no-object"),
        pytest.param(b"[" * 4096, None, "a header that is no JSON object", id="nested"),
        pytest.param(b"{}", None, NO_LIST, id="no-states"),
        pytest.param(b'{"states":' + b"[" * 900 + b"]" * 900 + b"}", None, NO_LIST, id="nested-states"),
        pytest.param(b'{"states":[["h0","float32",[1,-1]]]}', None, NO_LIST, id="negative-size"),
        pytest.param(b'{"states":[["h0","float32",[true]]]}', None, NO_LIST, id="size-true"),
        pytest.param(b'{"states":[["h0","object",[2,4]],["c0","float32",[2,4]]]}', None, "h0 object", id="dtype"),
        pytest.param(b'{"states":[["h0","float32",[' + b"9" * 4000 + b"]]]}", None, "of another model", id="huge"),
    ],
)
def test_a_hostile_header_under_a_right_digest_is_refused(
    lstm: Contract, header: bytes, length: int | None, got: str
) -> None:
    assert got in message(with_header(snapshot_from_state(state(lstm), lstm), header, length), lstm)


def test_a_header_of_a_huge_model_takes_no_memory(lstm: Contract) -> None:
    states = [[name, "float32", [2**40, 2**20]] for name in ("h0", "c0")]
    data = with_changes(snapshot_from_state(state(lstm), lstm), states=states)
    tracemalloc.start()
    try:
        message(data, lstm)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_values_of_another_length_are_refused(lstm: Contract) -> None:
    data = snapshot_from_state(state(lstm), lstm)
    for wrong, got in ((data[:-36], 60), (data[:-32] + bytes(4), 68)):
        assert message(sealed(wrong), lstm) == (
            f"damaged snapshot: got {got} bytes of values, expected 64, for the sizes in its header; {ANEW}"
        )


@pytest.mark.parametrize(
    ("changes", "got", "expected"),
    [
        pytest.param({"layers": 3}, "h0 float32 (2, 4), c0 float32 (2, 4)", "h0 float32 (3, 4)", id="layers"),
        pytest.param({"input_size": 9}, "lstm, input 10, hidden 4", "lstm, input 9, hidden 4", id="input-size"),
        pytest.param(
            {"layers": 1, "directions": 2}, "2 layers, 1 directions", "1 layers, 2 directions", id="directions"
        ),
        pytest.param({"cell": "gru"}, "h0 float32 (2, 4), c0 float32 (2, 4)", "h0 float32 (2, 4);", id="cell"),
        pytest.param(
            {"hidden_size": 8, "projection_size": 8}, "h0 float32 (2, 4)", "h0 float32 (2, 8)", id="hidden-size"
        ),
    ],
)
@pytest.mark.parametrize("any_weights", [False, True], ids=["same-weights", "any-weights"])
def test_a_snapshot_of_other_sizes_is_refused(
    lstm: Contract, changes: dict[str, Any], got: str, expected: str, any_weights: bool
) -> None:
    data = snapshot_from_state(state(lstm), lstm)
    found = message(data, changed(lstm, **changes), any_weights=any_weights)
    assert found.startswith("snapshot of another model: got ")
    before, _, after = found.partition(", expected ")
    assert got in before
    assert expected in after


def test_a_snapshot_of_other_weights_is_taken_on_demand_alone(lstm: Contract) -> None:
    h, c = state(lstm)
    data = snapshot_from_state([h, c], lstm)
    trained_again = changed(lstm, source=dataclasses.replace(lstm.source, weights_sha256="cd" * 32))
    assert message(data, trained_again) == (
        "snapshot of another model: got weights 'abababababab'…, expected weights 'cdcdcdcdcdcd'…; "
        "restore it on the model it was taken from, or with any_weights=True on one that goes on from it"
    )
    np.testing.assert_array_equal(state_from_snapshot(data, trained_again, any_weights=True)[0], h)


def test_a_snapshot_of_another_nonlinearity_is_refused(lstm: Contract) -> None:
    tanh, relu = (changed(lstm, cell="rnn", nonlinearity=name) for name in ("tanh", "relu"))
    data = snapshot_from_state(state(tanh), tanh)
    with pytest.raises(SnapshotError, match=r"got rnn \(tanh\), .*, expected rnn \(relu\)"):
        state_from_snapshot(data, relu)
