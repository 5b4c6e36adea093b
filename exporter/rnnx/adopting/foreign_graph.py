"""A foreign graph under its contract: names and dims of inputs and outputs as the contract has them, nothing else."""

from collections.abc import Iterator, Mapping

from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from rnnx.linting.rules.scopes import subgraphs_of
from rnnx_runtime.contract import Contract, TensorSpec


def put_under_contract(model: ModelProto, contract: Contract, theirs: Mapping[str, str]) -> None:
    """Rename a graph's inputs and outputs, set their shapes, and drop what was said of other shapes.

    A name that becomes a contract's and stands for something else inside is changed; an output that is an input too
    gets a node of its own.
    """
    graph = model.graph
    separated = _separate(graph, contract, theirs)
    ends = [*contract.inputs, *(spec for spec in contract.outputs if spec.name not in separated)]
    ours = {theirs[spec.name]: spec.name for spec in ends}
    taken = {own for name, own in ours.items() if name != own}
    inside = {name for name in _names(graph) if name in taken and name not in ours}
    _rename(graph, {**{name: f"{name}_inner" for name in inside}, **ours})
    specs = {spec.name: spec for spec in (*contract.inputs, *contract.outputs)}
    for value in (*graph.input, *graph.output):
        if value.name in specs:
            _set_shape(value, specs[value.name])
    _forget_shapes(graph)


def _separate(graph: GraphProto, contract: Contract, theirs: Mapping[str, str]) -> set[str]:
    """Give outputs that are inputs or weights too a node of their own; returns their names in the contract."""
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    found = set[str]()
    for spec, value in zip(contract.outputs, graph.output, strict=True):
        if value.name in given:
            value.name = spec.name
            graph.node.append(helper.make_node("Identity", [theirs[spec.name]], [spec.name]))
            found.add(spec.name)
    return found


def _names(graph: GraphProto) -> Iterator[str]:
    yield from (tensor.name for tensor in graph.initializer)
    for node in graph.node:
        yield from (*node.input, *node.output)
        for inner in subgraphs_of(node):
            yield from _names(inner)


def _rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for annotation in graph.quantization_annotation:
        annotation.tensor_name = names.get(annotation.tensor_name, annotation.tensor_name)
    for node in graph.node:
        _rename_node(node, names)


def _rename_node(node: NodeProto, names: Mapping[str, str]) -> None:
    for side in (node.input, node.output):
        if any(name in names for name in side):
            side[:] = [names.get(name, name) for name in side]
    for inner in subgraphs_of(node):
        _rename(inner, names)


def _set_shape(value: ValueInfoProto, spec: TensorSpec) -> None:
    kind = value.type.tensor_type
    kind.ClearField("shape")
    kind.shape.SetInParent()
    for dim in spec.dims:
        own = kind.shape.dim.add()
        if isinstance(dim, int):
            own.dim_value = dim
        else:
            own.dim_param = dim


def _forget_shapes(graph: GraphProto) -> None:
    del graph.value_info[:]
    for node in graph.node:
        for inner in subgraphs_of(node):
            del inner.value_info[:]
            _forget_shapes(inner)
