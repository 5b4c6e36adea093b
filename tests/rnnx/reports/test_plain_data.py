import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from rnnx.reports.plain_data import MalformedError, PlainForm, plain_from_value, value_from_plain


@dataclass(frozen=True)
class Inner:
    name: Literal["a", "b"]
    error: float


@dataclass(frozen=True)
class Outer:
    count: int
    seconds: Mapping[str, float]
    inner: tuple[Inner, ...]
    note: str | None = None

    @property
    def worst(self) -> float | None:
        return max((one.error for one in self.inner), default=None)


FORM = PlainForm(derived={Outer: {"passed": bool, "worst": float | None}}, unbounded=(Inner,))

VALUE = Outer(3, {"truth": 0.5}, (Inner("a", 1e-7), Inner("b", math.inf)))
DATA: dict[str, Any] = {
    "passed": True,
    "worst": None,
    "count": 3,
    "seconds": {"truth": 0.5},
    "inner": [{"name": "a", "error": 1e-7}, {"name": "b", "error": None}],
    "note": None,
}


def test_a_value_becomes_data_with_what_is_derived_and_null_for_what_is_not_finite() -> None:
    assert plain_from_value(VALUE, FORM) == DATA
    assert plain_from_value(math.nan, FORM) is None


def test_data_becomes_the_value_again_without_what_was_derived() -> None:
    assert value_from_plain(Outer, DATA, "outer", FORM) == VALUE


def test_a_whole_number_is_a_float_where_one_is_declared() -> None:
    found = value_from_plain(Inner, {"name": "a", "error": 2}, "inner", FORM)
    assert (found.error, type(found.error)) == (2.0, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": True}, "True for outer.count"),
        ({"count": "3"}, "'3' for outer.count"),
        ({"seconds": {"truth": None}}, "NoneType for outer.seconds.truth"),
        ({"seconds": []}, "list for outer.seconds"),
        ({"inner": [{"name": "c", "error": 1.0}]}, r"'c' for outer.inner\[0\].name"),
        ({"inner": [{"name": "a"}]}, r"error missing or unknown in outer.inner\[0\]"),
        ({"inner": [7]}, r"7 for outer.inner\[0\]"),
        ({"extra": 1}, "extra missing or unknown in outer"),
        ({"note": 3}, "3 for outer.note"),
    ],
)
def test_what_is_malformed_is_named_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(MalformedError, match=f"^{message}$"):
        value_from_plain(Outer, DATA | change, "outer", FORM)


@pytest.mark.parametrize("number", [math.nan, math.inf, 10**400, -(10**400)])
def test_a_number_that_no_float_holds_is_malformed(number: float) -> None:
    with pytest.raises(MalformedError, match=r"for inner\.error"):
        value_from_plain(Inner, {"name": "a", "error": number}, "inner", FORM)


def test_a_path_that_is_no_text_becomes_text_that_every_reader_takes() -> None:
    text = plain_from_value({"model": "models/\udcff.onnx"}, PlainForm(derived={}, unbounded=()))["model"]
    assert text == "models/\\udcff.onnx"
    assert json.loads(json.dumps(text)) == text
    text.encode("utf-8")
