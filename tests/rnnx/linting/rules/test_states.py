import pytest
from tests.rnnx.linting.rules.conftest import Told

from rnnx.linting.kinds import by_kind

RULES = ("states-unreachable", "final-states-unused")

WEIGHTS = "float[T,B,5] x, float[1,32,5] w, float[1,32,8] r"


def lstm(inputs: str, outputs: str, states: str, before: str = "", after: str = "", constants: str = "") -> str:
    return f"""g ({WEIGHTS}{inputs}) => ({outputs}) <{constants}> {{
        {before}
        [rnn] y, hn, cn = LSTM <hidden_size = 8> (x, w, r, "", ""{states})
        {after} }}"""


ALL = "float[a,b,c,d] y, float[e,f,g] hn, float[h,i,j] cn"


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        pytest.param(lstm(", float[1,B,8] h0, float[1,B,8] c0", ALL, ", h0, c0"), [], id="open"),
        pytest.param(lstm("", ALL, ""), ["states-unreachable"], id="absent"),
        pytest.param(lstm(", float[1,B,8] h0", ALL, ", h0"), ["states-unreachable"], id="only-h0"),
        pytest.param(
            lstm("", ALL, ", z, z", "z = ConstantOfShape (s)", constants="int64[3] s = {1, 1, 8}"),
            ["states-unreachable"],
            id="constant",
        ),
        pytest.param(
            lstm(
                ", float[2,B,8] h, float[2,B,8] c",
                ALL,
                ", h0, c0",
                "h0, h1 = Split <axis = 0> (h, n)\nc0, c1 = Split <axis = 0> (c, n)",
                constants="int64[2] n = {1, 1}",
            ),
            [],
            id="split",
        ),
        pytest.param(
            lstm(", float[1,B,8] e", ALL, ", h0, h0", "h0 = Tanh (e)"),
            [],
            id="computed",
        ),
        pytest.param(
            lstm(", float[1,B,8] h0, float[1,B,8] c0", "float[a,b,c,d] y", ", h0, c0"),
            ["final-states-unused"],
            id="no-states-out",
        ),
        pytest.param(
            lstm(", float[1,B,8] h0, float[1,B,8] c0", "float[a,b,c,d] y, float[e,f,g] hn", ", h0, c0"),
            ["final-states-unused"],
            id="only-hn-out",
        ),
        pytest.param(
            lstm(
                ", float[1,B,8] h0, float[1,B,8] c0",
                "float[a,b,c] both, float[d,e] score",
                ", h0, c0",
                after="both = Concat <axis = 0> (hn, cn)\nscore = ReduceSum <keepdims = 0> (y)",
            ),
            [],
            id="joined",
        ),
        pytest.param(
            lstm(", float[1,B,8] h0, float[1,B,8] c0", "float[a,b,c] s", ", h0, c0", after="s = Mul (hn, cn)"),
            ["final-states-unused"],
            id="used-up",
        ),
    ],
)
def test_states_that_cannot_be_carried_are_told(told: Told, text: str, rules: list[str]) -> None:
    found = told(text, *RULES)
    assert [own.rule for own in found] == rules
    assert all((own.severity, own.node) == ("info", "LSTM 'rnn'") for own in found)


def test_several_nodes_are_one_finding(told: Told) -> None:
    text = f"""g ({WEIGHTS}) => (float[a,b,c,d] y2) {{
        [one] y = LSTM <hidden_size = 8> (x, w, r)
        [two] y2 = LSTM <hidden_size = 8> (x, w, r) }}"""
    assert [own.node for own in by_kind(told(text, *RULES))] == ["LSTM 'one' (and 1 more)"] * 2


def test_states_that_are_quantized_on_their_way_are_given_and_taken(told: Told) -> None:
    text = f"""g ({WEIGHTS}, float[1,B,8] h, float[1,B,8] c) => (float[a,b,c,d] y, float[1,B,8] hn, float[1,B,8] cn)
        <float s = {{0.01}}, int8 k = {{0}}> {{
        q = QuantizeLinear (h, s, k) d = DequantizeLinear (q, s, k)
        [one] y, e, cn = LSTM <hidden_size = 8> (x, w, r, "", "", d, c)
        p = QuantizeLinear (e, s, k) hn = DequantizeLinear (p, s, k) }}"""
    assert told(text, *RULES) == []
