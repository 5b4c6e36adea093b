import pytest
from tests.rnnx.linting.rules.conftest import Told

RULES = ("recurrent-shapes", "recurrent-types")


def lstm(w: str = "1,32,5", r: str = "1,32,8", options: str = "hidden_size = 8", kind: str = "float") -> str:
    return f"""g (float[T,B,5] x, {kind}[{w}] w, float[{r}] r, float[1,64] b, float[1,B,8] h) => (float[T,1,B,8] y) {{
        [rnn] y = LSTM <{options}> (x, w, r, b, "", h) }}"""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param(lstm(w="1,32,6"), "W is (1, 32, 6), not (1, 32, 5)", id="another-width"),
        pytest.param(lstm(w="1,32,8", r="1,32,5"), "R is (1, 32, 5), not (1, 32, 8)", id="swapped"),
        pytest.param(lstm(options="hidden_size = 4"), "B is (1, 64), not (1, 32)", id="hidden-size"),
        pytest.param(lstm(options='hidden_size = 8, direction = "bidirectional"'), "not (2, 32, 8)", id="direction"),
        pytest.param(
            lstm(options='hidden_size = 8, activations = ["Sigmoid", "Tanh"]'), "2 activations, not 3", id="activations"
        ),
    ],
)
def test_inputs_that_do_not_fit_the_attributes_are_one_error(told: Told, text: str, named: str) -> None:
    (found,) = told(text, *RULES)
    assert (found.rule, found.severity, found.node, found.backends) == ("recurrent-shapes", "error", "LSTM 'rnn'", ())
    assert named in found.message


def test_inputs_of_two_types_are_an_error(told: Told) -> None:
    (found,) = told(lstm(kind="float16"), *RULES)
    assert found.rule == "recurrent-types"
    assert "W is float16, R is float" in found.message


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lstm(), id="forward"),
        pytest.param(
            """g (float[B,T,5] x, float[2,24,5] w, float[2,24,8] r, float[B,2,8] h) => (float[B,T,2,8] y) {
                y = GRU <hidden_size = 8, layout = 1, direction = "bidirectional"> (x, w, r, "", "", h) }""",
            id="layout-1",
        ),
    ],
)
def test_a_right_node_has_no_finding(told: Told, text: str) -> None:
    assert told(text, *RULES) == []
