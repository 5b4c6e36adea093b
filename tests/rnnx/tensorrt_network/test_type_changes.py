import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tests.rnnx.tensorrt_network.conftest import Graph
from tests.rnnx.tensorrt_network.trap_graphs import TRAP_GRAPHS

from rnnx.tensorrt_network.importer import import_graph
from rnnx.tensorrt_network.type_changes import TypeChange, find_type_changes

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")


def _changes(model: ModelProto) -> dict[str, TypeChange]:
    data = model.SerializeToString()
    found = find_type_changes(data, import_graph(Graph(data=data)).program.types)
    return {change.tensor: change for change in found}


def test_float64_inputs_weights_and_outputs_are_listed() -> None:
    changes = _changes(TRAP_GRAPHS["float64"]().model)
    assert changes.keys() == {"x", "W", "R", "B", "output", "hn", "cn"}
    assert {(change.declared, change.parsed) for change in changes.values()} == {("DOUBLE", "FLOAT")}


@pytest.mark.parametrize("name", ["layout", "clip", "softplus"])
def test_a_graph_whose_types_are_kept_lists_none(name: str) -> None:
    assert _changes(TRAP_GRAPHS[name]().model) == {}


def test_constants_and_what_lies_in_subgraphs_are_listed() -> None:
    body = helper.make_graph(
        [
            helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.ones(2))),
            helper.make_node("Add", ["h", "k"], ["h_next"]),
            helper.make_node("Add", ["h_next", "x_t"], ["y_t"]),
        ],
        "body",
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [2]) for name in ("h", "x_t")],
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [2]) for name in ("h_next", "y_t")],
    )
    graph = helper.make_graph(
        [helper.make_node("Scan", ["h0", "x"], ["hn", "y"], body=body, num_scan_inputs=1)],
        "g",
        [
            helper.make_tensor_value_info("h0", TensorProto.DOUBLE, [2]),
            helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["T", 2]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)],
    )
    changes = _changes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))
    assert changes.keys() >= {"h0", "x", "y", "k", "h_next"}
