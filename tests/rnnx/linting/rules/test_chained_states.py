from tests.rnnx.linting.rules.conftest import Told

RULES = ("state-from-layer", "step-left-out")


def two(reads: str, state: str = "hn", weight: str = "v") -> str:
    return f"""g (float[T,B,8] x, float[S,B,8] z, float[1,24,8] w, float[1,24,8] r, float[1,24,8] v)
        => (float[S,1,B,8] out) {{
        one = Constant <value_ints = [1]> ()
        [lower] y, hn = GRU <hidden_size = 8, linear_before_reset = 1> (x, w, r)
        s = Squeeze (y, one)
        k = Identity (hn)
        [upper] out = GRU <hidden_size = 8, linear_before_reset = 1> ({reads}, {weight}, r, "", "", {state}) }}"""


def test_a_layer_that_starts_where_the_one_below_it_ended_is_told(told: Told) -> None:
    for state in ("hn", "k"):
        (found,) = told(two("s", state), *RULES)
        assert (found.rule, found.severity, found.node) == ("state-from-layer", "warning", "GRU 'upper'")
        assert "GRU 'lower'" in found.message


def test_a_decoder_and_a_second_chunk_may_start_there(told: Told) -> None:
    assert told(two("z"), *RULES) == []
    assert told(two("s", weight="w"), *RULES) == []
    assert told(two("s", '""'), *RULES) == []


def steps(third: str) -> str:
    return f"""g (float[B,5] x, float[B,8] h) => (float[B,8] c) <float[5,8] w = {{0}}, float[8,8] r = {{0}}> {{
        p = MatMul (x, w)
        ha = MatMul (h, r) sa = Add (p, ha) a = Tanh (sa)
        hb = MatMul (a, r) sb = Add (p, hb) b = Tanh (sb)
        [third] hc = MatMul ({third}, r) sc = Add (p, hc) c = Tanh (sc) }}"""


def test_a_step_that_starts_from_an_earlier_state_is_told(told: Told) -> None:
    (found,) = told(steps("a"), *RULES)
    assert (found.rule, found.node) == ("step-left-out", "MatMul 'third'")
    assert told(steps("b"), *RULES) == []
