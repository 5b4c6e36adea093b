"""Copies of a graph's nodes under new names, the graphs inside them included."""

from collections.abc import Iterable, Mapping

from onnx import GraphProto, NodeProto


def copied(
    nodes: Iterable[NodeProto], prefix: str, renames: Mapping[str, str]
) -> tuple[list[NodeProto], dict[str, str]]:
    """The nodes with every value they make under `prefix`, reading `renames` where these name what they read.

    Returns the copies, in order, and the new name of everything that was renamed or made.
    """
    names, copies = dict(renames), []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = prefix + (node.name or node.op_type)
        copy.input[:] = [names.get(name, name) for name in node.input]
        for attribute in copy.attribute:
            for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                _rename_within(graph, prefix, names)
        copy.output[:] = [name and prefix + name for name in node.output]
        names |= {name: prefix + name for name in node.output if name}
        copies.append(copy)
    return copies, names


def values_read(node: NodeProto) -> set[str]:
    """The values that a node reads, those that graphs inside it take from around them included."""
    found = {name for name in node.input if name}
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            made = {value.name for value in graph.input} | {value.name for value in graph.initializer}
            for inner in graph.node:
                found |= values_read(inner) - made
                made |= set(inner.output)
            found |= {value.name for value in graph.output} - made
    return found - {""}


def _rename_within(graph: GraphProto, prefix: str, outer: Mapping[str, str]) -> None:
    """Rename what a graph inside a node makes, and what it reads from around it."""
    names = dict(outer)
    for value in (*graph.input, *graph.initializer):
        names[value.name] = value.name = prefix + value.name
    copies, names = copied(list(graph.node), prefix, names)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(copies)
    for value in graph.output:
        value.name = names.get(value.name, value.name)
