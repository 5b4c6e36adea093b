"""Copies of nodes: what they make and read under new names, inside the graphs that nodes hold too."""

from onnx import NodeProto, TensorProto, helper

from rnnx.decoders.node_copies import copied, values_read


def nested() -> list[object]:
    """A node, and an If whose branches read what it makes, an outer value, and a weight of their own."""
    inner = helper.make_graph(
        [helper.make_node("Add", ["a", "outer"], ["s"], name="add"), helper.make_node("Mul", ["s", "w"], ["r"])],
        "then",
        [],
        [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)],
        [helper.make_tensor("w", TensorProto.FLOAT, [], [2.0])],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["r2"])],
        "else",
        [],
        [helper.make_tensor_value_info("r2", TensorProto.FLOAT, None)],
    )
    branch = helper.make_node("If", ["flag"], ["out"], name="if", then_branch=inner, else_branch=other)
    return [helper.make_node("Neg", ["x"], ["a"], name="neg"), branch]


def test_values_made_get_the_prefix_and_values_read_their_new_name() -> None:
    (neg, branch), names = copied(nested(), "step_0/", {"x": "state"})  # type: ignore[arg-type]
    assert (list(neg.input), list(neg.output), neg.name) == (["state"], ["step_0/a"], "step_0/neg")
    assert list(branch.input) == ["flag"]
    assert names["out"] == "step_0/out"


def test_graphs_inside_read_the_copies_and_keep_their_own_values_apart() -> None:
    (_, branch), _ = copied(nested(), "step_0/", {"outer": "memory"})  # type: ignore[arg-type]
    then = next(own.g for own in branch.attribute if own.name == "then_branch")
    assert [list(node.input) for node in then.node] == [["step_0/a", "memory"], ["step_0/s", "step_0/w"]]
    assert [value.name for value in then.initializer] == ["step_0/w"]
    assert [value.name for value in then.output] == ["step_0/r"]


def test_the_original_nodes_stay_as_they_were() -> None:
    nodes = nested()
    before = [str(node) for node in nodes]
    copied(nodes, "step_0/", {"x": "state", "outer": "memory"})  # type: ignore[arg-type]
    assert [str(node) for node in nodes] == before


def test_a_node_reads_what_the_graphs_inside_it_take_from_around_it() -> None:
    _, branch = nested()
    assert values_read(branch) == {"flag", "a", "outer"}  # type: ignore[arg-type]


def outer_result() -> NodeProto:
    """An If whose branches give values from around it as they are; one of them says what type that value has."""
    value = helper.make_tensor_value_info("outer", TensorProto.FLOAT, None)
    then, other = (
        helper.make_graph([], "then", [], [value], value_info=[value]),
        helper.make_graph([], "e", [], [value]),
    )
    node: NodeProto = helper.make_node("If", ["flag"], ["out"], then_branch=then, else_branch=other)
    return node


def test_a_node_reads_what_a_graph_inside_it_only_hands_on() -> None:
    assert values_read(outer_result()) == {"flag", "outer"}


def test_what_was_said_of_values_under_their_old_names_is_dropped() -> None:
    (copy,), _ = copied([outer_result()], "step_0/", {"outer": "memory"})
    (then,) = [own.g for own in copy.attribute if own.name == "then_branch"]
    assert [value.name for value in then.output] == ["memory"]
    assert not then.value_info
