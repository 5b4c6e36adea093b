import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from tests.rnnx.linting.rules.conftest import Told

from rnnx.linting.examination import examine
from rnnx.linting.kinds import by_kind

RULES = ("float64", "float64-recurrence", "bfloat16", "bfloat16-gru", "float16")


def of_type(operator: str, element: str) -> str:
    rows = {"GRU": 24, "LSTM": 32}[operator]
    return f"""g ({element}[T,B,5] x, {element}[1,{rows},5] w, {element}[1,{rows},8] r) => ({element}[T,1,B,8] y)
        {{ [rnn] y = {operator} <hidden_size = 8> (x, w, r) }}"""


@pytest.mark.parametrize(
    ("operator", "element", "expected"),
    [
        ("LSTM", "float", set()),
        ("GRU", "float", set()),
        ("LSTM", "double", {("float64", "error", "tensorrt"), ("float64-recurrence", "error", "ort-cpu")}),
        ("LSTM", "bfloat16", {("bfloat16", "warning", "ort-cpu")}),
        ("GRU", "bfloat16", {("bfloat16", "warning", "ort-cpu"), ("bfloat16-gru", "error", "tensorrt")}),
        ("GRU", "float16", {("float16", "info", "ort-cpu")}),
    ],
)
def test_each_type_is_judged_for_each_backend(
    told: Told, operator: str, element: str, expected: set[tuple[str, str, str]]
) -> None:
    found = told(of_type(operator, element), *RULES)
    assert {(own.rule, own.severity, own.backends[0]) for own in found} == expected


def test_the_first_of_several_float64_tensors_is_named_and_the_others_counted(told: Told) -> None:
    (found,) = by_kind(told(of_type("LSTM", "double"), "float64"))
    assert (found.node, found.message) == (
        "tensor 'y' (and 3 more)",
        "float64, which TensorRT silently computes in float32",
    )


def _model(node: NodeProto | None = None, **weights: TensorProto) -> ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in "xy")
    nodes = [node] if node else [helper.make_node("Relu", ["w"], ["y"])]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], list(weights.values())))


@pytest.mark.parametrize(
    ("model", "node"),
    [
        pytest.param(_model(w=numpy_helper.from_array(np.ones(2), "w")), "tensor 'w'", id="weight"),
        pytest.param(_model(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.DOUBLE)), "Cast 'y'", id="cast"),
        pytest.param(
            _model(helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.ones(2)))),
            "Constant 'y'",
            id="constant",
        ),
        pytest.param(
            _model(helper.make_node("RandomNormal", [], ["y"], shape=[2], dtype=TensorProto.DOUBLE)),
            "RandomNormal 'y'",
            id="random",
        ),
    ],
)
def test_float64_is_found_wherever_it_enters(model: ModelProto, node: str) -> None:
    (found,) = (own for own in examine(model) if own.rule == "float64")
    assert found.node == node


def test_a_single_float64_number_is_no_finding() -> None:
    constant = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.array(0.5)))
    assert examine(_model(constant)) == ()


def test_the_type_is_found_through_a_weight_from_outside_a_loop(told: Told) -> None:
    text = """g (int64 m, float[N] x, bfloat16[1,3,1] w, bfloat16[1,3,1] r) => (float[N] y) {
        y = Loop (m, "", x) <body = b (int64 i, bool go, float[N] s) => (bool go2, float[N] s2) {
            go2 = Identity (go)
            [inner] s2 = GRU <hidden_size = 1> (projected, w, r) }> }"""
    assert [own.node for own in told(text, "bfloat16-gru")] == ["GRU 'inner'"]
