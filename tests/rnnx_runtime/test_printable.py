import pickle
import unicodedata

import pytest

from rnnx_runtime.errors import InputError, RnnxError
from rnnx_runtime.printable import MOST, escaped, shown, shown_lines

ORDINARY = ["encoder.lstm", "größe", "入力", "x → y, 2 × 3 ≤ 7", "a\u00a0b\u3000c", "back\\slash", "'quoted'", "🙂", ""]

HOSTILE = {
    "title": ("\x1b]0;owned\x07lstm", r"\x1b]0;owned\x07lstm"),
    "colour": ("\x1b[31mlstm", r"\x1b[31mlstm"),
    "c1": ("\x9b31m", r"\x9b31m"),
    "delete": ("a\x7fb", r"a\x7fb"),
    "backspace": ("ab\x08c", r"ab\x08c"),
    "null": ("a\x00b", r"a\x00b"),
    "tab": ("a\tb", r"a\tb"),
    "override": ("\u202egnp.exe", r"\u202egnp.exe"),
    "isolate": ("\u2066a\u2069", r"\u2066a\u2069"),
    "zero-width": ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
    "surrogate": ("a\ud800b", r"a\ud800b"),
    "separators": ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
    "tag": ("a\U000e0041b", r"a\U000e0041b"),
}


@pytest.mark.parametrize("text", ORDINARY)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(("text", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_what_a_terminal_would_act_on_is_escaped(text: str, expected: str) -> None:
    assert shown(text) == expected
    assert shown(expected) == expected


def test_nothing_is_left_that_does_not_print() -> None:
    text = "".join(map(chr, range(0x110000)))
    left = {unicodedata.category(own) for own in escaped(text)}
    assert not left & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert escaped(text).encode()


def test_lines_become_one_line() -> None:
    assert shown("first\n  second\r\nthird\n") == "first second third"


def test_lines_can_stay() -> None:
    assert shown_lines("a\x1b\nb\n") == "a\\x1b\nb\n"


@pytest.mark.parametrize(
    "text", ["n" * 5000, "\x1b" * 5000, "\n" * 5000, "\u202e" * 999], ids=["n", "esc", "lf", "rlo"]
)
def test_a_long_text_says_how_long_it_was(text: str) -> None:
    cut = shown(text)
    assert len(cut) <= MOST
    assert cut.endswith(f"… ({len(text):,} characters)")
    assert shown(cut) == cut


def test_a_text_of_the_most_characters_is_whole() -> None:
    assert shown("n" * MOST) == "n" * MOST
    assert shown("n" * 10, 10) == "n" * 10


def test_an_error_is_one_line_that_prints() -> None:
    error = RnnxError("\x1b[2Jm.onnx", got="a\nb\x07", expected="\u202ex", remedy="\ud800")
    assert str(error) == r"\x1b[2Jm.onnx: got a b\x07, expected \u202ex; \ud800"
    assert error.subject == "\x1b[2Jm.onnx"


def test_each_part_of_an_error_has_its_own_room() -> None:
    error = InputError("s" * 10**6, got="g" * 10**6, expected="e" * 10**6, remedy="the remedy")
    assert len(str(error)) < 7_000
    assert str(error).endswith("; the remedy")


def test_an_error_crosses_a_process_with_its_parts_whole() -> None:
    again = pickle.loads(pickle.dumps(InputError("\x1b", got="g" * 5000, expected="e", remedy="r")))
    assert type(again) is InputError
    assert (again.subject, len(again.got)) == ("\x1b", 5000)
