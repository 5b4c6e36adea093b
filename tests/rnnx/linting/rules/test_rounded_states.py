import pytest
from tests.rnnx.linting.rules.conftest import Told

RULE = "state-rounded"
HALF = "a = Cast <to = 10> (hk) hn = Cast <to = 1> (a)"
INT8 = "a = QuantizeLinear (hk, scale, zero) hn = DequantizeLinear (a, scale, zero)"


def streamed(end: str, start: str = "h = Identity (h0)", kind: str = "float") -> str:
    return f"""g ({kind}[T,B,5] x, {kind}[1,24,5] w, {kind}[1,24,8] r, {kind}[1,B,8] h0)
        => ({kind}[T,1,B,8] y, {kind}[1,B,8] hn)
        <float scale = {{0.0078125}}, int8 zero = {{0}}> {{
        {start} [rnn] y, hk = GRU <hidden_size = 8, linear_before_reset = 1> (x, w, r, "", "", h) {end} }}"""


@pytest.mark.parametrize(("end", "word"), [(HALF, "float16"), (INT8, "clipped to -1 … 0.992")], ids=["half", "int8"])
def test_a_state_that_loses_bits_from_call_to_call_is_told(told: Told, end: str, word: str) -> None:
    (found,) = told(streamed(end), RULE)
    assert found.severity == "warning"
    assert word in found.message


def test_so_is_one_on_its_way_in(told: Told) -> None:
    start = "a = Cast <to = 10> (h0) [wide] h = Cast <to = 1> (a)"
    assert len(told(streamed("hn = Identity (hk)", start), RULE)) == 1


def test_and_one_within_a_loop(told: Told) -> None:
    def scanned(last: str) -> str:
        return f"""g (float[T,B,8] x, float[8,8] r, float[B,8] h0) => (float[B,8] hn) {{
            hn = Scan <num_scan_inputs = 1, body = b (float[B,8] h, float[B,8] f) => (float[B,8] k) {{
                m = MatMul (h, r) s = Add (f, m) t = Tanh (s) {last} }}> (h0, x) }}"""

    assert len(told(scanned("q = Cast <to = 10> (t) k = Cast <to = 1> (q)"), RULE)) == 1
    assert told(scanned("k = Identity (t)"), RULE) == []


def test_a_final_state_that_no_call_takes_may_be_quantized(told: Told) -> None:
    assert told(streamed(INT8, "h = Constant <value_floats = [0.0]> ()"), RULE) == []


def test_a_layer_in_float16_has_its_states_in_it(told: Told) -> None:
    assert told(streamed("hn = Identity (hk)", kind="float16"), RULE) == []
