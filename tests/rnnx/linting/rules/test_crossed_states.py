import pytest
from tests.rnnx.linting.rules.conftest import Told

RULES = ("states-crossed", "states-unpaired")


def layers(
    firsts: str = "h, c",
    lasts: str = "hn, cn",
    parts: tuple[str, str] = ("h_0", "h_1"),
    joined: str = "a, b",
    size: int = 2,
) -> str:
    """Two layers whose states are parts of two inputs, and of two outputs; `firsts` and `lasts` are their names."""
    (h, c), (hn, cn) = firsts.split(", "), lasts.split(", ")
    return f"""g (float[T,B,8] x, float[2,B,8] {h}, float[2,B,8] {c}, float[1,32,8] w, float[1,32,8] r, float[1,32,8] v)
        => (float[T,1,B,8] y, float[{size},B,8] {hn}, float[2,B,8] {cn}) {{
        one = Constant <value_ints = [1]> ()
        h_0, h_1 = Split <axis = 0> ({h})
        c_0, c_1 = Split <axis = 0> ({c})
        [first] z, a, d = LSTM <hidden_size = 8> (x, w, r, "", "", {parts[0]}, c_0)
        s = Squeeze (z, one)
        [second] y, b, e = LSTM <hidden_size = 8> (s, v, r, "", "", {parts[1]}, c_1)
        {hn} = Concat <axis = 0> ({joined})
        {cn} = Concat <axis = 0> (d, e) }}"""


@pytest.mark.parametrize(
    ("firsts", "lasts"),
    [("h, c", "hn, cn"), ("h0, c0", "hn, cn"), ("hidden_in, cell_in", "hidden_out, cell_out"), ("s1, s2", "s3, s4"),
     ("state_c_h, state_h_c", "out_1, out_2"), ("cache_a, cache_b", "a_cache, b_cache"),
     ("hidden_0, hidden_1", "cell_0, cell_1")],
)  # fmt: skip
def test_states_under_their_own_names_are_no_finding(told: Told, firsts: str, lasts: str) -> None:
    assert told(layers(firsts, lasts), *RULES) == []


@pytest.mark.parametrize(
    ("firsts", "lasts", "name"),
    [
        ("c0, h0", "hn, cn", "c0"),
        ("h0, c0", "cn, hn", "cn"),
        ("cell_state, hidden_state", "a1, a2", "cell_state"),
        ("dec_c_in, dec_h_in", "a1, a2", "dec_c_in"),
    ],
)
def test_a_state_under_the_other_ones_name_is_told(told: Told, firsts: str, lasts: str, name: str) -> None:
    found = told(layers(firsts, lasts), *RULES)
    assert {own.rule for own in found} == {"states-crossed"}
    assert repr(name) in found[0].message


def test_one_part_for_two_layers_is_told(told: Told) -> None:
    (found,) = told(layers(parts=("h_0", "h_0")), *RULES)
    assert (found.rule, found.node) == ("states-crossed", "LSTM 'second'")
    assert "part 0 of 'h', which LSTM 'first' takes, too" in found.message


def test_parts_in_another_order_are_told(told: Told) -> None:
    assert {own.node for own in told(layers(joined="b, a"), *RULES)} == {"LSTM 'first'", "LSTM 'second'"}
    assert told(layers(parts=("h_1", "h_0"), joined="b, a"), *RULES) == []


def test_a_state_of_another_size_than_it_was_taken_in_is_told(told: Told) -> None:
    (found, *_) = told(layers(size=1), *RULES)
    assert (found.rule, found.severity) == ("states-unpaired", "warning")
    assert "'h' (2, …, 8) and is given back as 'hn' (1, …, 8)" in found.message


def test_two_branches_may_take_the_same_part(told: Told) -> None:
    def branch(k: str) -> str:
        return f"""{k}_rnn () => (float[1,B,8] h{k}) {{ p{k}, q{k} = Split <axis = 0> (h)
            y{k}, h{k} = GRU <hidden_size = 8, linear_before_reset = 1> (x, w, r, "", "", p{k}) }}"""

    text = f"""g (float[T,B,5] x, bool fast, float[2,B,8] h, float[1,24,5] w, float[1,24,8] r) => (float[1,B,8] hn) {{
        hn = If (fast) <then_branch = {branch("a")}, else_branch = {branch("b")}> }}"""
    assert told(text, "states-crossed") == []
