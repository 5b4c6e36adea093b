"""What shapes are inferred from: everything that they depend on, and neither weights nor texts."""

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper, shape_inference

from rnnx.linting.light_models import light_model

FLOAT = TensorProto.FLOAT


def _model() -> ModelProto:
    """Large weights in the graph, in a Constant and in a branch, a shape in a small constant, and texts everywhere."""
    weights = [
        numpy_helper.from_array(np.zeros((300, 200), np.float32), "w"),
        numpy_helper.from_array(np.array([0, 20, 10]), "shape"),
        numpy_helper.from_array(np.array(True), "yes"),
    ]
    inner = numpy_helper.from_array(np.zeros((40, 10), np.float32), "inner")
    branch = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["chosen"])],
        "branch",
        [],
        [helper.make_tensor_value_info("chosen", FLOAT, None)],
        [inner],
        doc_string="b" * 5_000,
    )
    table = helper.make_node("Constant", [], ["table"], value=numpy_helper.from_array(np.zeros(2_000, np.float32)))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], doc_string="n" * 5_000),
        helper.make_node("Reshape", ["product", "shape"], ["y"]),
        helper.make_node("If", ["yes"], ["z"], then_branch=branch, else_branch=branch),
        table,
        helper.make_node("Identity", ["table"], ["t"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", FLOAT, ["B", 300])],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in ("y", "z", "t")],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, doc_string="m" * 5_000)
    helper.set_model_props(model, {"labels": "l" * 5_000})
    return model


def _inferred(model: ModelProto) -> dict[str, str]:
    graph = shape_inference.infer_shapes(model).graph
    return {value.name: str(value.type) for value in (*graph.output, *graph.value_info)}


def test_the_same_shapes_are_inferred() -> None:
    model = _model()
    assert _inferred(light_model(model)) == _inferred(model)
    assert all("shape" in own for own in _inferred(model).values())


def test_weights_and_texts_stay_behind() -> None:
    assert light_model(_model()).ByteSize() < 2_000


def test_a_small_model_without_texts_is_copied_as_it_is() -> None:
    model = _model()
    small = ModelProto(ir_version=8, opset_import=model.opset_import)
    small.graph.node.extend([helper.make_node("Relu", ["x"], ["y"], name="own")])
    small.graph.input.extend(model.graph.input)
    assert light_model(small) == small


def test_functions_are_copied_with_their_nodes() -> None:
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "f", ["v"], ["w"], [helper.make_node("Relu", ["v"], ["w"])], opsets)
    model = _model()
    model.functions.append(function)
    assert list(light_model(model).functions) == [function]


def test_the_model_itself_does_not_change() -> None:
    model = _model()
    before = model.SerializeToString(deterministic=True)
    light_model(model)
    assert model.SerializeToString(deterministic=True) == before
