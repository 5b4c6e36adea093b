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


@pytest.mark.parametrize(
    "nodes",
    [
        "z = MaxPool <kernel_shape = [1, 2], ceil_mode = 1> (y)",
        "z = SpaceToDepth <blocksize = 1> (y)",
        'z = DepthToSpace <blocksize = 1, mode = "CRD"> (y)',
    ],
)
def test_what_it_computes_rightly_is_no_finding(told: Told, nodes: str) -> None:
    assert told(behind(nodes), *RULES) == []


@pytest.mark.parametrize(("condition", "count"), [("c", 1), ("k", 0)])
def test_an_input_that_is_a_loops_condition_loses_its_name(told: Told, condition: str, count: int) -> None:
    text = f"""g (int64 m, bool c, float[B,8] h0) => (float[B,8] hn) {{ k = Not (c)
        hn = Loop (m, {condition}, h0) <body = b (int64 t, bool go, float[B,8] h) => (bool go2, float[B,8] n) {{
            go2 = Identity (go) n = Tanh (h) }}> }}"""
    found = told(text, *RULES)
    assert ["calls the engine's input 'go'" in own.message for own in found] == [True] * count
