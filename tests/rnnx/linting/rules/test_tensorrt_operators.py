import pytest
from tests.rnnx.linting.rules.conftest import Told

from rnnx.linting.kinds import by_kind

RULES = ("tensorrt-refused", "tensorrt-silent")
LAYER = "[rnn] y = LSTM <hidden_size = 8> (x, w, r)"
HEAD = "g (float[T,B,5] x, float[1,32,5] w, float[1,32,8] r)"


def behind(nodes: str) -> str:
    return f"{HEAD} => (float[T,1,B,8] z) {{ {LAYER} {nodes} }}"


@pytest.mark.parametrize(
    ("nodes", "names", "why"),
    [
        pytest.param("[n] s = SplitToSequence (y) [m] z = ConcatFromSequence <axis = 0> (s)", 2, "sequences", id="seq"),
        pytest.param("[n] q, a, b = DynamicQuantizeLinear (y) z = DequantizeLinear (q, a, b)", 1, "int8", id="int8"),
        pytest.param("[n] z = com.microsoft.QuickGelu (y)", 1, "ONNX Runtime's own", id="contrib"),
    ],
)
def test_an_operator_that_the_importer_refuses_is_an_error_there(told: Told, nodes: str, names: int, why: str) -> None:
    found = told(behind(nodes), *RULES)
    assert [own.rule for own in found] == ["tensorrt-refused"] * names
    assert {own.severity for own in found} == {"error"}
    assert {own.backends for own in found} == {("tensorrt-rtx",)}
    assert why in found[0].message


def test_one_operator_is_told_once_with_the_number_of_its_nodes(told: Told) -> None:
    (found,) = by_kind(told(behind("[a] p = com.microsoft.QuickGelu (y) [b] z = com.microsoft.QuickGelu (p)"), *RULES))
    assert found.node == "QuickGelu 'a' (and 1 more)"


def test_a_recurrent_node_in_a_scan_is_refused(told: Told) -> None:
    text = """g (float[T,B,5] x, float[1,32,5] w, float[1,32,8] r, float[1,B,8] h)
        => (float[1,B,8] hn, float[T,1,1,B,8] z) {
        hn, z = Scan <num_scan_inputs = 1, body = b (float[1,B,8] h_in, float[B,5] f)
            => (float[1,B,8] h_out, float[1,1,B,8] o) {
            zero = Constant <value_ints = [0]> () s = Unsqueeze (f, zero)
            [inner] o, h_out = LSTM <hidden_size = 8> (s, w, r, "", "", h_in) }> (h, x) }"""
    (found,) = told(text, *RULES)
    assert (found.node, found.severity) == ("LSTM 'inner'", "error")
    assert "body of a Scan" in found.message


@pytest.mark.parametrize(
    ("nodes", "word"),
    [
        pytest.param("[n] z = Trilu (y)", "upper", id="trilu"),
        pytest.param(
            "[n] z = MaxPool <kernel_shape = [1, 2], ceil_mode = 1, pads = [0, 1, 0, 1]> (y)", "ceil_mode", id="pooling"
        ),
    ],
)
def test_what_tensorrt_computes_otherwise_is_a_warning(told: Told, nodes: str, word: str) -> None:
    (found,) = told(behind(nodes), *RULES)
    assert (found.rule, found.severity, found.backends) == ("tensorrt-silent", "warning", ("tensorrt", "tensorrt-rtx"))
    assert word in found.message


@pytest.mark.parametrize(
    "nodes", ["z = Trilu <upper = 1> (y)", "z = Relu (y)", "z = MaxPool <kernel_shape = [1, 2]> (y)"]
)
def test_other_nodes_are_no_findings(told: Told, nodes: str) -> None:
    assert told(behind(nodes), *RULES) == []
