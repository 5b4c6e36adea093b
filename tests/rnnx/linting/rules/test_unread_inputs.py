import pytest
from tests.rnnx.linting.rules.conftest import Told

from rnnx.linting.kinds import by_kind

RULES = ("input-unread", "half-state")


def lstm(h: str = "h0", c: str = "c0") -> str:
    return f"""g (float[T,B,5] x, float[1,32,5] w, float[1,32,8] r, float[1,B,8] h0, float[1,B,8] c0)
        => (float[T,1,B,8] y) {{ [rnn] y = LSTM <hidden_size = 8> (x, w, r, "", "", {h}, {c}) }}"""


def test_a_state_that_nothing_reads_is_told_at_both_ends(told: Told) -> None:
    found = told(lstm(c='""'), *RULES)
    assert [(own.rule, own.severity, own.node) for own in found] == [
        ("input-unread", "warning", "input 'c0'"),
        ("half-state", "warning", "LSTM 'rnn'"),
    ]
    assert "initial_c is left out" in found[1].message


def test_several_are_one_finding(told: Told) -> None:
    (found,) = by_kind(told(lstm('""', '""'), *RULES))
    assert found.node == "input 'h0' (and 1 more)"


@pytest.mark.parametrize("text", [lstm(), lstm("h0", "h0")])
def test_states_that_are_read_are_no_finding(told: Told, text: str) -> None:
    assert "half-state" not in [own.rule for own in told(text, *RULES)]
