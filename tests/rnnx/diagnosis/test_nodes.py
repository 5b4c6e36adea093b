import pytest
from onnx import ModelProto, helper

from rnnx.diagnosis.baked_sizes import node_in_message
from rnnx.diagnosis.nodes import baked_node, recurrent_node


def _model(*nodes: tuple[str, str]) -> ModelProto:
    made = [helper.make_node(op, ["x"], [f"{name}_y"], name=name) for op, name in nodes]
    return helper.make_model(helper.make_graph(made, "g", [], []))


LAYERS = _model(("LSTM", "first"), ("Transpose", "between"), ("LSTM", "second"))


@pytest.mark.parametrize(
    ("places", "node"), [((), "LSTM 'first'"), (((1, 0), (1, 1)), "LSTM 'second'")], ids=["nowhere", "upper"]
)
def test_a_layers_node_is_named(places: tuple[tuple[int, int], ...], node: str) -> None:
    assert recurrent_node(LAYERS, 2, places) == node


def test_directions_may_have_nodes_of_their_own() -> None:
    split = _model(("GRU", "forward"), ("GRU", "backward"))
    assert recurrent_node(split, 1, ((0, 1),)) == "GRU 'backward'"


@pytest.mark.parametrize(
    "model", [None, _model(("Gemm", "gates")), _model(("LSTM", "a"), ("LSTM", "b"), ("LSTM", "c"))]
)
def test_no_node_is_guessed(model: ModelProto | None) -> None:
    assert recurrent_node(model, 2, ()) == ""


def test_a_node_without_name_goes_by_its_output() -> None:
    model = helper.make_model(helper.make_graph([helper.make_node("LSTM", ["x"], ["y"])], "g", [], []))
    assert recurrent_node(model, 1, ()) == "LSTM 'y'"


def test_the_node_of_a_message_is_onnx_runtimes() -> None:
    message = "Non-zero status code returned while running Reshape node. Name:'/a/Reshape_3' Status Message: no"
    assert node_in_message(message) == "Reshape '/a/Reshape_3'"
    assert node_in_message("engine: got T=1") == ""


def test_without_a_graph_no_node_holds_a_length() -> None:
    assert baked_node(None, "baked-time") == ""
