import pytest
from tests.rnnx.linting.rules.conftest import Told

RULES = ("tensorrt-silent",)
LAYER = "[rnn] y = LSTM <hidden_size = 8> (x, w, r)"
HEAD = "g (float[T,B,5] x, float[1,32,5] w, float[1,32,8] r)"


def behind(nodes: str) -> str:
    return f"{HEAD} => (float[T,1,B,8] z) {{ {LAYER} {nodes} }}"


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
