import pytest
from tests.rnnx.linting.rules.conftest import Told

RULES = ("loop-for-cell", "baked-time", "scan")

LSTM_STEP = """
    gates = Gemm <transB = 1> (xt, w, b)
    i, f, g, o = Split <axis = 1> (gates)
    si = Sigmoid (i)
    sf = Sigmoid (f)
    so = Sigmoid (o)
    tg = Tanh (g)
    kept = Mul (sf, c)
    new = Mul (si, tg)
    c2 = Add (kept, new)
    tc = Tanh (c2)
    h2 = Mul (so, tc)
"""


def looped(limit: str = "m", body: str = LSTM_STEP, token: bool = False, reads: str = "xt = Gather (x, t)") -> str:
    """A Loop over x; with a token the step's input is what the last step gave."""
    extra_in, extra_out = (", float[B,5] k", ", float[B,5] k2") if token else ("", "")
    return f"""g (int64 m, float[T,B,5] x, float[32,5] w, float[32] b, float[B,8] h0, float[B,8] c0, float[B,5] k0)
        => (float[B,8] hn) <int64 five = {{5}}> {{
        [steps] hn, cn {", kn" if token else ""} = Loop ({limit or '""'}, "", h0, c0 {", k0" if token else ""})
            <body = body
            (int64 t, bool go, float[B,8] h, float[B,8] c {extra_in})
            => (bool go2, float[B,8] h2, float[B,8] c2 {extra_out}) {{
                go2 = Identity (go)
                {reads}
                {body}
                {"k2 = Tanh (xt)" if token else ""} }}> }}"""


def test_a_cell_step_over_a_sequence_ought_to_be_a_fused_node(told: Told) -> None:
    (found,) = told(looped(), *RULES)
    assert (found.rule, found.severity, found.node) == ("loop-for-cell", "info", "Loop 'steps'")
    assert "one LSTM step" in found.message


def test_a_recurrent_node_over_one_step_is_a_cell_too(told: Told) -> None:
    body = """seq = Unsqueeze (xt, zero)
        y, hs, cs = LSTM <hidden_size = 8> (seq, w, w, "", "", h, c)
        h2 = Identity (hs)
        c2 = Identity (cs)"""
    (found,) = told(looped(body=body), *RULES)
    assert found.rule == "loop-for-cell"


def test_a_list_that_the_body_appends_to_is_no_state(told: Told) -> None:
    text = f"""g (int64 m, float[T,B,5] x, float[32,5] w, float[32] b, float[B,8] h0, float[B,8] c0)
        => (float[B,8] hn) {{
        l0 = SequenceEmpty <dtype = 1> ()
        [steps] hn, cn, ln = Loop (m, "", h0, c0, l0) <body = body
            (int64 t, bool go, float[B,8] h, float[B,8] c, seq(float[B,8]) l)
            => (bool go2, float[B,8] h2, float[B,8] c2, seq(float[B,8]) l2) {{
                go2 = Identity (go)
                xt = Gather (x, t)
                {LSTM_STEP}
                l2 = SequenceInsert (l, h2) }}> }}"""
    assert [own.rule for own in told(text, *RULES)] == ["loop-for-cell"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(looped(token=True), id="feeds-its-output-back"),
        pytest.param(looped(reads="xt = Identity (k0)"), id="reads-no-sequence"),
        pytest.param(looped(reads="xt = Gather (h, t)"), id="reads-its-state"),
        pytest.param(looped(reads="k9 = Tanh (x)\nxt = Gather (k9, t)"), id="reads-what-it-computed"),
        pytest.param(looped(body="h2 = Tanh (h)\nc2 = Tanh (c)"), id="no-cell"),
    ],
)
def test_a_loop_that_no_fused_node_could_replace_is_no_finding(told: Told, text: str) -> None:
    assert told(text, *RULES) == []


def test_a_single_step_is_no_baked_length(told: Told) -> None:
    assert told(looped(limit="five").replace("five = {5}", "five = {1}"), "baked-time") == []


def test_a_constant_trip_limit_over_a_sequence_is_a_baked_length(told: Told) -> None:
    (found,) = told(looped(limit="five"), "baked-time")
    assert (found.severity, found.node) == ("error", "Loop 'steps'")
    assert "time length 5" in found.message


def test_a_scan_is_told_with_what_it_holds(told: Told) -> None:
    text = f"""g (float[T,B,5] x, float[32,5] w, float[32] b, float[B,8] h0, float[B,8] c0) => (float[B,8] hn) {{
        [steps] hn, cn = Scan (h0, c0, x) <num_scan_inputs = 1, body = body
            (float[B,8] h, float[B,8] c, float[B,5] xt) => (float[B,8] h2, float[B,8] c2) {{ {LSTM_STEP} }}> }}"""
    (found,) = told(text, *RULES)
    assert (found.rule, found.severity, found.node) == ("scan", "info", "Scan 'steps'")
    assert "one LSTM step" in found.message


def test_a_scan_with_a_projection_has_no_fused_node(told: Told) -> None:
    body = LSTM_STEP + "\n    p2 = MatMul (h2, r)"
    text = f"""g (float[T,B,5] x, float[32,5] w, float[32] b, float[8,4] r, float[B,4] h0, float[B,8] c0)
        => (float[B,4] hn) {{
        [steps] hn, cn = Scan (h0, c0, x) <num_scan_inputs = 1, body = body
            (float[B,4] h, float[B,8] c, float[B,5] xt) => (float[B,4] p2, float[B,8] c2) {{ {body} }}> }}"""
    (found,) = told(text, *RULES)
    assert "one LSTM step with a projection" in found.message
    assert found.fix == "nothing: no ONNX operator has a projection"
