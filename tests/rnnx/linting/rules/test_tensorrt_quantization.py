import pytest
from tests.rnnx.linting.rules.conftest import Told

RULES = ("tensorrt-refused", "tensorrt-silent")


def quantized(nodes: str, kind: str = "int8", zero: int = 0) -> str:
    return f"""g (float[T,B,5] x, float[1,32,5] w, float[1,32,8] r) => (float[T,1,B,8] z)
        <float s = {{0.01}}, {kind} k = {{{zero}}}, {kind}[1,32,5] v = {{1}}> {{
        y = LSTM <hidden_size = 8> (x, w, r) {nodes} }}"""


PAIR = "[q] a = QuantizeLinear (y, s, k) [d] z = DequantizeLinear (a, s, k)"


def test_a_zero_point_is_refused_at_both_ends(told: Told) -> None:
    found = told(quantized(PAIR, zero=5), *RULES)
    assert [(own.rule, own.node) for own in found] == [
        ("tensorrt-refused", "QuantizeLinear 'q'"),
        ("tensorrt-refused", "DequantizeLinear 'd'"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        quantized(PAIR, "uint8"),
        quantized("[q] a = QuantizeLinear (y, s) z = DequantizeLinear (a, s)"),
    ],
    ids=["said", "default"],
)
def test_uint8_around_zero_is_read_as_int8(told: Told, text: str) -> None:
    (found,) = told(text, *RULES)
    assert (found.rule, found.severity, found.node) == ("tensorrt-silent", "warning", "QuantizeLinear 'q'")


def test_weights_in_uint8_are_refused(told: Told) -> None:
    (found,) = told(
        quantized("[d] u = DequantizeLinear (v, s, k) z = LSTM <hidden_size = 8> (x, u, r)", "uint8"), *RULES
    )
    assert (found.rule, found.node) == ("tensorrt-refused", "DequantizeLinear 'd'")


def test_int8_around_zero_is_no_finding(told: Told) -> None:
    assert told(quantized(PAIR), *RULES) == []
