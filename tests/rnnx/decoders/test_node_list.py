"""Nodes in a row, and the constants that they share."""

from onnx import numpy_helper

from rnnx.decoders.node_list import Constants, NodeList


def test_equal_constants_are_one_and_a_vector_is_no_scalar() -> None:
    constants = Constants("c/")
    first, second = NodeList("a/", constants), NodeList("b/", constants)
    names = [first.scalar(1), second.scalar(1), first.ints(1), second.ints(1), first.scalar(True)]
    assert names == ["c/0", "c/0", "c/1", "c/1", "c/2"]
    found = [(value.shape, str(value.dtype)) for value in map(numpy_helper.to_array, constants.tensors)]
    assert found == [((), "int64"), ((1,), "int64"), ((), "bool")]


def test_nodes_of_one_operator_have_names_of_their_own() -> None:
    nodes = NodeList("a/", Constants("c/"))
    names = [nodes.add("Neg", "x"), nodes.add("Neg", "x"), nodes.add("Neg", "x", output="y")]
    assert names == ["a/Neg_0", "a/Neg_1", "y"]
    assert [node.name for node in nodes.nodes] == ["a/Neg_0", "a/Neg_1", "a/Neg_2"]
