import pytest
from tests.rnnx.linting.rules.conftest import Told

RULES = ("padding-read", "backward-start")


def read(nodes: str, lengths: str = "lens", direction: str = "forward") -> str:
    count = 2 if direction == "bidirectional" else 1
    return f"""g (float[T,B,5] x, float[{count},32,5] w, float[{count},32,8] r, int32[B] lens) => (float[B,8] z) {{
        one = Constant <value_ints = [1]> () zero = Constant <value_ints = [0]> ()
        end = Constant <value_ints = [9999999999]> () last = Constant <value_ints = [-1]> ()
        last_one = Constant <value_int = -1> ()
        [rnn] y4 = LSTM <hidden_size = 8, direction = "{direction}"> (x, w, r, "", {lengths}) {nodes} }}"""


LAST = [
    pytest.param("y = Squeeze (y4, one) [n] z = Gather <axis = 0> (y, last_one)", id="gather"),
    pytest.param("y = Squeeze (y4, one) [n] s = Slice (y, last, end, zero) z = Squeeze (s, zero)", id="slice"),
    pytest.param("[n] s = Gather <axis = 0> (y4, last_one) z = Squeeze (s, zero)", id="before-the-squeeze"),
]


@pytest.mark.parametrize("nodes", LAST)
def test_the_last_step_behind_lengths_is_told(told: Told, nodes: str) -> None:
    (found,) = told(read(nodes), *RULES)
    assert (found.rule, found.severity) == ("padding-read", "warning")
    assert found.node.endswith("'n'")
    assert "LSTM 'rnn' is given lengths" in found.message


@pytest.mark.parametrize(("operator", "word"), [("ReduceMean", "mean"), ("ReduceMax", "largest")])
def test_all_steps_behind_lengths_are_told(told: Told, operator: str, word: str) -> None:
    (found,) = told(read(f"y = Squeeze (y4, one) [n] z = {operator} <axes = [0], keepdims = 0> (y)"), *RULES)
    assert (found.rule, word in found.message) == ("padding-read", True)


def test_the_last_step_of_both_directions_is_an_info(told: Told) -> None:
    nodes = "[n] s = Gather <axis = 0> (y4, last_one) z = ReduceSum (s, zero)"
    (found,) = told(read(nodes, lengths='""', direction="bidirectional"), *RULES)
    assert (found.rule, found.severity) == ("backward-start", "info")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(read("y = Squeeze (y4, one) z = Gather <axis = 0> (y, last_one)", lengths='""'), id="no-lengths"),
        pytest.param(read("y = Squeeze (y4, one) s = Gather <axis = 1> (y, last_one) z = Relu (s)"), id="last-row"),
        pytest.param(
            read("y = Squeeze (y4, one) m = Cast <to = 1> (y) k = Mul (m, m) z = ReduceMax <axes = [0]> (k)"),
            id="another-calculation",
        ),
    ],
)
def test_other_readings_are_no_findings(told: Told, text: str) -> None:
    assert told(text, *RULES) == []
