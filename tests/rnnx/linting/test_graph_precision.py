"""The coarsest that a graph's outputs went through, wherever it stands."""

import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper

from rnnx.linting.graph_precision import coarsest_of


def _model(nodes: list[NodeProto], weights: list[TensorProto] | None = None) -> ModelProto:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])]
    return helper.make_model(helper.make_graph(nodes, "graph", inputs, outputs, weights or []))


def _cast(kind: int, source: str = "x", target: str = "y") -> NodeProto:
    return helper.make_node("Cast", [source], [target], to=kind)


def _inside(node: NodeProto) -> NodeProto:
    body = helper.make_graph([node], "body", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
    return helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body)


def _weight(kind: int) -> TensorProto:
    return helper.make_tensor("w", kind, [1], [1.0])


def _called(node: NodeProto) -> ModelProto:
    model = _model([helper.make_node("Own", ["x"], ["y"], domain="own")])
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Own", ["x"], ["y"], [node], opsets))
    return model


ADD = helper.make_node("Add", ["x", "w"], ["y"])

CASES = {
    "plain": (_model([ADD], [_weight(TensorProto.FLOAT)]), "float32"),
    "half-weight": (_model([ADD], [_weight(TensorProto.FLOAT16)]), "float16"),
    "bfloat16-weight": (_model([ADD], [_weight(TensorProto.BFLOAT16)]), "bfloat16"),
    "half-constant": (
        _model([helper.make_node("Constant", [], ["w"], value=_weight(TensorProto.FLOAT16)), ADD]),
        "float16",
    ),
    "cast": (_model([_cast(TensorProto.FLOAT16)]), "float16"),
    "cast-inside": (_model([_inside(_cast(TensorProto.FLOAT16))]), "float16"),
    "cast-in-a-function": (_called(_cast(TensorProto.FLOAT16)), "float16"),
    "dequantized": (_model([helper.make_node("DequantizeLinear", ["x", "w"], ["y"])]), "int8"),
    "integer-products": (_model([helper.make_node("MatMulInteger", ["x", "w"], ["y"])]), "int8"),
    "quantized-operator": (_model([helper.make_node("QLinearMatMul", ["x"], ["y"])]), "int8"),
    "quantized-inside": (_model([_inside(helper.make_node("ConvInteger", ["x", "w"], ["y"]))]), "int8"),
    "unread-cast": (_model([_cast(TensorProto.FLOAT), _cast(TensorProto.FLOAT16, target="z")]), "float32"),
    "unread-weight": (_model([_cast(TensorProto.FLOAT)], [_weight(TensorProto.FLOAT16)]), "float32"),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_coarsest_on_the_way_counts(case: str) -> None:
    model, precision = CASES[case]
    assert coarsest_of(model, ["y"]) == precision


def test_a_function_that_calls_itself_ends() -> None:
    assert coarsest_of(_called(helper.make_node("Own", ["x"], ["y"], domain="own")), ["y"]) == "float32"
