import contextlib
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnx.weights.inert_pickle import inert_value
from rnnx.weights.pickle_objects import Made, Named, Outside, PickleDataError


def value_of(data: bytes) -> Any:
    return inert_value(data, most_bytes=2**26)


class Reader:
    """Pickles as a call with a state, such as a TorchScript module's."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return os.getcwd, (), {"state": self.state}


@pytest.mark.parametrize(
    "value",
    [None, True, 7, 300, 70_000, -1, 2**40, 2.5, "é", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1], [1, [2]], {}],
    ids=repr,
)
def test_plain_values_are_read_as_they_are(value: Any) -> None:
    assert value_of(pickle.dumps(value, protocol=2)) == value
    nested = {"a": value, "b": [value, (value, value)]}
    assert value_of(pickle.dumps(nested, protocol=2)) == nested
    assert value_of(pickle.dumps({"only": value}, protocol=2)) == {"only": value}


def test_shared_values_stay_shared() -> None:
    shared = [1]
    first, second = value_of(pickle.dumps([shared, shared], protocol=2))
    assert first is second


def test_a_call_is_described_and_not_made() -> None:
    made = value_of(pickle.dumps(Reader((1, "a")), protocol=2))
    assert isinstance(made, Made)
    assert isinstance(made.maker, Named)
    assert made.maker.name == "posix.getcwd"
    assert made.arguments == ()
    assert made.state == {"state": (1, "a")}


def test_a_reference_to_outside_is_kept() -> None:
    value = value_of(b"\x80\x02X\x01\x00\x00\x00aQ.")
    assert isinstance(value, Outside)
    assert value.reference == "a"


class Payload:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


def test_a_payload_does_not_run(tmp_path: Path) -> None:
    data = pickle.dumps(Payload(tmp_path / "proof"), protocol=2)
    assert isinstance(value_of(data), Made)
    assert not (tmp_path / "proof").exists()
    pickle.loads(data)
    assert (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "no end", id="empty"),
        pytest.param(b"\x80\x02", "no end", id="cut"),
        pytest.param(b"\x80\x02.", "pop from empty list", id="nothing"),
        pytest.param(b"\x80\x02t.", "pop from empty list", id="no-mark"),
        pytest.param(b"\x80\x02cos\nsystem\n}b.", "a state for what was not made", id="state-of-a-name"),
        pytest.param(b"\x80\x02)K\x01a.", "items for a tuple", id="append-to-a-tuple"),
        pytest.param(b"\x80\x02(cos\nsystem\no.", "Unsupported operand 111", id="operation"),
        pytest.param(b"\x80\x02h\x05.", "5", id="no-memo"),
        pytest.param(b"\x80\x02}]K\x01s.", "a list for a key", id="list-as-a-key"),
        pytest.param(
            b"\x80\x02}" + b"N" + b"\x85" * 300_000 + b"K\x01s.", "tuples nested more than 100 deep", id="deep-key"
        ),
    ],
)
def test_damage_is_one_error(data: bytes, reason: str) -> None:
    with pytest.raises(PickleDataError, match=reason):
        value_of(data)


def test_a_large_index_costs_no_memory() -> None:
    assert value_of(b"\x80\x02Nr" + struct.pack("<I", 2**32 - 1) + b".") is None


@settings(deadline=None, database=None, derandomize=True, max_examples=300)
@given(st.binary(max_size=40))
def test_garbage_is_a_value_or_one_error(content: bytes) -> None:
    with contextlib.suppress(PickleDataError):
        value_of(b"\x80\x02" + content)
