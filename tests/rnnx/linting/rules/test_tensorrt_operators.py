import pytest
from tests.rnnx.linting.rules.conftest import Told

from rnnx.linting.kinds import by_kind

RULES = ("tensorrt-refused",)
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


@pytest.mark.parametrize("nodes", ["z = Relu (y)", "z = com.microsoft.Gelu (y)"])
def test_other_operators_are_no_findings(told: Told, nodes: str) -> None:
    assert told(behind(nodes), *RULES) == []
