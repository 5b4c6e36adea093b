import pytest
from tests.rnnx.linting.rules.conftest import Told

RULES = ("openvino-lengths", "tract-relu")


def layer(attributes: str = "", lengths: str = "n", dims: str = "T,B") -> str:
    return f"""g (float[{dims},5] x, float[1,8,5] w, float[1,8,8] r, int32[b] n) => (float[a,b,c,d] y) {{
        [rnn] y = RNN <hidden_size = 8 {attributes}> (x, w, r, "", {lengths}) }}"""


@pytest.mark.parametrize(
    ("text", "rule", "backend"),
    [
        (layer(), "openvino-lengths", "openvino"),
        (layer(', activations = ["Relu"]', '""'), "tract-relu", "tract"),
    ],
)
def test_what_another_runtime_makes_of_it_is_an_info_there(told: Told, text: str, rule: str, backend: str) -> None:
    (found,) = told(text, *RULES)
    assert (found.rule, found.severity, found.backends) == (rule, "info", (backend,))


@pytest.mark.parametrize("text", [layer(lengths='""'), layer(dims="4,3"), layer(', activations = ["Tanh"]', '""')])
def test_what_they_compute_rightly_is_no_finding(told: Told, text: str) -> None:
    assert told(text, *RULES) == []
