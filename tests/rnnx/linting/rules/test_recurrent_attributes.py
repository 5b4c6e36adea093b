from typing import get_args

import pytest
from tests.rnnx.linting.rules.conftest import Told

from rnnx_runtime.files.sidecar import Flavor

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def one(operator: str, attributes: str = "") -> str:
    rows = GATES[operator]
    return f"""g (float[T,B,1] x, float[1,{rows},1] w, float[1,{rows},1] r) => (float[T,1,B,1] y)
        {{ [rnn] y = {operator} <hidden_size = 1 {attributes}> (x, w, r) }}"""


RULES = ("layout", "lstm-clip", "softplus", "input-forget")


@pytest.mark.parametrize(
    ("text", "rule", "message"),
    [
        *(pytest.param(one(op, ", layout = 1"), "layout", "takes the batch", id=f"{op}-layout") for op in GATES),
        pytest.param(one("LSTM", ", clip = 3.0"), "lstm-clip", "also clips the cell state", id="clip"),
        pytest.param(one("RNN", ', activations = ["Softplus"]'), "softplus", "that is as 0", id="RNN-softplus"),
        pytest.param(one("GRU", ', activations = ["Sigmoid", "softplus"]'), "softplus", "as 0", id="lower-case"),
        pytest.param(one("LSTM", ", input_forget = 1"), "input-forget", "which TensorRT refuses", id="input-forget"),
    ],
)  # fmt: skip
def test_an_attribute_that_a_backend_gets_wrong_is_an_error(told: Told, text: str, rule: str, message: str) -> None:
    (found,) = told(text, *RULES)
    assert (found.rule, found.severity, found.node.endswith("'rnn'")) == (rule, "error", True)
    assert message in found.message
    assert set(get_args(Flavor)) <= set(found.backends)


@pytest.mark.parametrize(
    "text",
    [
        *(pytest.param(one(op, ", layout = 0"), id=f"{op}-defaults") for op in GATES),
        pytest.param(one("LSTM", ', input_forget = 0, direction = "forward"'), id="LSTM-written-defaults"),
        pytest.param(one("GRU", ", clip = 3.0, linear_before_reset = 1"), id="GRU-clip"),
        pytest.param("g (float[N] x) => (float[N] y) { y = Softplus (x) }", id="Softplus-operator"),
        pytest.param("g (float[N] x) => (float[N] y) { y = local.LSTM <layout = 1> (x) }", id="other-domain"),
    ],
)
def test_what_every_backend_computes_right_is_no_finding(told: Told, text: str) -> None:
    assert told(text, *RULES) == []


def test_a_node_in_a_subgraph_is_found(told: Told) -> None:
    text = """g (bool c, float[T,B,1] x, float[1,1,1] w, float[1,1,1] r) => (float[a,b,d,e] y) {
        y = If (c) <
            then_branch = t () => (float[a,b,d,e] p) { [inner] p = RNN <hidden_size = 1, layout = 1> (x, w, r) },
            else_branch = f () => (float[a,b,d,e] q) { q = RNN <hidden_size = 1> (x, w, r) }> }"""
    assert [own.node for own in told(text, *RULES)] == ["RNN 'inner'"]


def test_a_node_in_a_local_function_is_found(told: Told) -> None:
    text = """g (float[T,B,1] x, float[1,1,1] w, float[1,1,1] r) => (float[a,b,d,e] y) { y = local.F (x, w, r) }"""
    function = """<opset_import: ["" : 17], domain: "local">
        F (x, w, r) => (y) { [inside] y = RNN <hidden_size = 1, layout = 1> (x, w, r) }"""
    (found,) = told(text, *RULES, functions=function)
    assert "inside" in found.node


@pytest.mark.parametrize(
    ("attributes", "rule"),
    [
        pytest.param(', activations = ["ThresholdedRelu"]', "activation-parameters", id="thresholded-relu"),
        pytest.param(', activations = ["ScaledTanh"]', "activation-parameters", id="scaled-tanh"),
        pytest.param(
            ', activations = ["Affine"], activation_alpha = [1.0], activation_beta = [0.5]', "affine", id="affine"
        ),
    ],
)
def test_activations_that_tensorrt_does_not_compute_are_errors_there(told: Told, attributes: str, rule: str) -> None:
    (found,) = told(one("RNN", attributes), "activation-parameters", "affine")
    assert (found.rule, found.severity, found.backends) == (rule, "error", get_args(Flavor))


def test_activations_with_their_parameters_are_no_findings(told: Told) -> None:
    given = ', activations = ["ScaledTanh"], activation_alpha = [1.0], activation_beta = [0.5]'
    assert told(one("RNN", given), "activation-parameters", "affine") == []
    alone = ', activations = ["ThresholdedRelu"], activation_alpha = [1.0]'
    assert told(one("RNN", alone), "activation-parameters", "affine") == []
