import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnx_runtime.files.strict_json import DEEPEST, value_from_json

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)


@settings(deadline=None, database=None, derandomize=True, max_examples=100)
@given(values)
def test_json_gives_its_value(value: Any) -> None:
    assert value_from_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize("brackets", ["[]", "{}"], ids=["arrays", "objects"])
def test_nesting_has_a_limit(brackets: str) -> None:
    def nested(depth: int) -> bytes:
        opening = '{"a": ' if brackets == "{}" else "["
        return (opening * (depth - 1) + brackets + brackets[1] * (depth - 1)).encode()

    assert value_from_json(nested(DEEPEST))
    for depth in (DEEPEST + 1, 900, 1000, 100_000):
        with pytest.raises(ValueError, match=r"^values nested deeper than 16 levels$"):
            value_from_json(nested(depth))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "Expecting value", id="empty"),
        pytest.param(b"{}{}", "Extra data", id="more-than-one"),
        pytest.param(b"NaN", "NaN, which is no JSON number", id="nan"),
        pytest.param(b'{"a": [Infinity]}', "Infinity, which is no JSON number", id="infinity"),
        pytest.param(b"-Infinity", "-Infinity, which is no JSON number", id="negative-infinity"),
        pytest.param(b'{"a": 1, "a": 1}', "a key given twice", id="key-twice"),
        pytest.param(b'[{"a": {"b": 1, "b": 2}}]', "a key given twice", id="key-twice-inside"),
        pytest.param(b'"\xff"', "utf-8", id="no-utf-8"),
        pytest.param('{"a": 1}'.encode("utf-16"), "utf-8", id="utf-16"),
        pytest.param(b"\xef\xbb\xbf{}", "BOM", id="byte-order-mark"),
        pytest.param(b"9" * 5000, "Exceeds the limit", id="digits"),
    ],
)
def test_what_is_not_quite_json_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        value_from_json(data)
