import pytest
from tests.rnnx.linting.rules.conftest import Told

RULES = ("backward-order", "padding-first", "batch-turned")
TURN = "r = Slice (x, last, least, zero, last)"
BACK = "b = Slice (q, last, least, zero, last)"


def passes(turn: str = TURN, back: str = BACK, lengths: str = '""') -> str:
    gru = "GRU <hidden_size = 8, linear_before_reset = 1>"
    return f"""g (float[T,B,5] x, float[1,24,5] w, float[1,24,8] r0, float[1,24,5] v, float[1,24,8] r1, int32[B] n)
        => (float[T,B,16] y) <int64[1] one = {{1}}, int64[1] zero = {{0}}, int64[1] last = {{-1}},
            int64[1] least = {{-9223372036854775807}}> {{
        k = {gru} (x, w, r0, "", {lengths})
        [turn] {turn}
        [rnn] j = {gru} (r, v, r1, "", {lengths})
        p = Squeeze (k, one)
        q = Squeeze (j, one)
        {back}
        [join] y = Concat <axis = 2> (p, b) }}"""


def test_a_pass_that_is_turned_and_turned_back_is_right(told: Told) -> None:
    assert told(passes(), *RULES) == []
    assert told(passes("r = Identity (x)", "b = Identity (q)"), *RULES) == []


@pytest.mark.parametrize(
    ("text", "rule", "node"),
    [
        pytest.param(passes(back="b = Identity (q)"), "backward-order", "Concat 'join'", id="not-turned-back"),
        pytest.param(passes(lengths="n"), "padding-first", "Slice 'turn'", id="padded"),
        pytest.param(
            passes(TURN.replace("zero", "one"), "b = Identity (q)"), "batch-turned", "Slice 'turn'", id="batch"
        ),
    ],
)
def test_what_is_turned_wrongly_is_told(told: Told, text: str, rule: str, node: str) -> None:
    (found,) = told(text, *RULES)
    assert (found.rule, found.severity, found.node) == (rule, "warning", node)


def test_rows_are_turned_by_their_lengths(told: Told) -> None:
    turn = "m = Cast <to = 7> (n) r = ReverseSequence <time_axis = 0, batch_axis = 1> (x, m)"
    back = "b = ReverseSequence <time_axis = 0, batch_axis = 1> (q, m)"
    assert told(passes(turn, back, lengths="n"), *RULES) == []


def scanned(directions: str, end: str = "y = Identity (o)") -> str:
    return f"""g (float[T,B,8] x, float[B,8] h0) => (float[T,B,8] y) <int64[1] zero = {{0}}, int64[1] last = {{-1}},
            int64[1] least = {{-9223372036854775807}}> {{
        [scan] hn, o = Scan <num_scan_inputs = 1, {directions} body = b (float[B,8] h, float[B,8] f)
            => (float[B,8] k, float[B,8] e) {{ s = Add (h, f) k = Tanh (s) e = Identity (k) }}> (h0, x) {end} }}"""


def test_a_scan_from_the_end_has_to_write_from_the_end(told: Told) -> None:
    (found,) = told(scanned("scan_input_directions = [1],"), *RULES)
    assert (found.rule, found.node) == ("backward-order", "Scan 'scan'")
    assert told(scanned("scan_input_directions = [1], scan_output_directions = [1],"), *RULES) == []
    assert told(scanned("scan_input_directions = [1],", "y = Slice (o, last, least, zero, last)"), *RULES) == []
    assert told(scanned(""), *RULES) == []
