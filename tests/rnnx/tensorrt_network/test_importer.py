import sys
from types import ModuleType
from typing import Any

import pytest
from onnx import TensorProto, helper
from tests.rnnx.tensorrt_network.conftest import Graph

from rnnx.tensorrt_network.importer import import_graph
from rnnx_runtime.errors import BackendError, BackendUnavailable


def _graph(op: str, **attributes: Any) -> Graph:
    node = helper.make_node(op, ["x"], ["y"], name="middle", **attributes)
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 4])
    graph = helper.make_graph([node], "g", [value], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return Graph(data=model.SerializeToString())


def test_without_a_library_the_row_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnx.engines.tensorrt_library.installed_flavors", lambda: ())
    with pytest.raises(BackendUnavailable, match=r"importer: got no package .*; pip install 'rnnx\[tensorrt-rtx\]'"):
        import_graph(_graph("Tanh"))


def test_a_flavor_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(BackendUnavailable, match=r"got no package tensorrt, .*; pip install 'rnnx\[tensorrt\]'"):
        import_graph(_graph("Tanh"), "tensorrt")


class _LibraryWithoutGpu(ModuleType):
    """The part of the module `tensorrt` that a host without a GPU reaches: its builder cannot be made."""

    __version__ = "10.13.3"

    class ILogger:
        """What a logger derives from."""

        def __init__(self) -> None:
            pass

    def Builder(self, logger: Any) -> Any:  # noqa: N802 - TensorRT's own name
        """Fails as pybind11 does for a factory that gave no object."""
        raise TypeError("pybind11::init(): factory function returned nullptr")


def test_a_library_that_needs_a_gpu_to_parse_points_to_the_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", _LibraryWithoutGpu("tensorrt"))
    with pytest.raises(BackendUnavailable, match=r"10.13.3: got .*nullptr, .* pip install 'rnnx\[tensorrt-rtx\]'"):
        import_graph(_graph("Tanh"), "tensorrt")


@pytest.mark.tensorrt
def test_a_graph_that_the_importer_refuses_is_a_failure_that_names_the_node() -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    with pytest.raises(BackendError, match=r"graph.onnx, NoSuchOperator 'middle': got "):
        import_graph(_graph("NoSuchOperator"))


@pytest.mark.tensorrt
def test_bytes_that_are_no_graph_are_a_failure() -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    with pytest.raises(BackendError, match=r"graph.onnx, the graph: got "):
        import_graph(Graph(data=b"not an ONNX file"))


@pytest.mark.tensorrt
def test_what_the_importer_warns_of_is_kept() -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 4])
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["k"], ["cast"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["x", "cast"], "y"),
        ],
        "g",
        [value],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("k", TensorProto.UINT8, [4], [1, 2, 3, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    warnings = import_graph(Graph(data=model.SerializeToString())).warnings
    assert [text for text in warnings if "UINT8 data k is being converted to INT32" in text] == list(warnings)
    assert warnings
