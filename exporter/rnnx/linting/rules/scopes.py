"""A graph as rules read it: who makes a tensor, who reads it, what is constant, and what surrounds a subgraph."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from rnnx_runtime.printable import shown as printable

_ONNX = ("", "ai.onnx")
_LONGEST_NAME = 200
"""Characters of a node's name that people get to see."""

_MOST_INTS = 64
"""Values of a constant that can be a shape; a larger one is a weight, which no rule evaluates."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scope:
    """A graph, a subgraph of the node `holder` inside the scope `outer`, or a local function's body (`graph` is None).

    `producers` and `readers` are this scope's own nodes by tensor name; `tensors` are its constants, `declared` its
    inputs, outputs and intermediate values that say their type.
    """

    nodes: Sequence[NodeProto]
    graph: GraphProto | None
    outer: "Scope | None"
    holder: NodeProto | None
    producers: Mapping[str, NodeProto]
    readers: Mapping[str, Sequence[NodeProto]]
    tensors: Mapping[str, TensorProto]
    declared: Mapping[str, ValueInfoProto]

    @property
    def is_repeated(self) -> bool:
        """Whether it runs more than once: a body of a Loop or Scan, or what stands in one."""
        own = self.holder is not None and not is_onnx(self.holder, "If")
        return own or (self.outer is not None and self.outer.is_repeated)

    def producer(self, name: str) -> NodeProto | None:
        """The node of this scope that makes a tensor; None for inputs, weights and tensors from outside."""
        return self.producers.get(name)

    def tensor(self, name: str) -> TensorProto | None:
        """A constant of this scope or of one around it."""
        return self.tensors.get(name) or (self.outer.tensor(name) if self.outer else None)

    def element_type(self, name: str) -> int | None:
        """The ONNX element type of a tensor, where the graph says it."""
        if name in self.tensors:
            return self.tensors[name].data_type
        if name in self.declared:
            return self.declared[name].type.tensor_type.elem_type or None
        return self.outer.element_type(name) if self.outer else None

    def dims(self, name: str) -> tuple[int | None, ...] | None:
        """A tensor's dims with None for free ones; None where the graph does not say even their number."""
        if name in self.tensors:
            return tuple(self.tensors[name].dims)
        if name in self.declared:
            return _declared_dims(self.declared[name])
        return self.outer.dims(name) if self.outer else None

    def ints(self, name: str) -> tuple[int, ...] | None:
        """A small integer constant's values in one row, such as a shape or axes."""
        tensor = self.tensor(name)
        if tensor is None or tensor.data_type not in (TensorProto.INT64, TensorProto.INT32):
            return None
        count = 1
        for dim in tensor.dims:
            count *= dim
        if count > _MOST_INTS or tensor.data_location == TensorProto.EXTERNAL:
            return None
        return tuple(int(value) for value in numpy_helper.to_array(tensor).ravel())


def scopes_of(model: ModelProto) -> tuple[Scope, ...]:
    """The model's graph first, then every subgraph, then what is inside local functions."""
    roots = [_scope(model.graph.node, model.graph, None, None)]
    roots += [_scope(function.node, None, None, None) for function in model.functions]
    return tuple(scope for root in roots for scope in _with_subgraphs(root))


def is_onnx(node: NodeProto, *operators: str) -> bool:
    """Whether a node is one of these operators of ONNX itself."""
    return node.op_type in operators and node.domain in _ONNX


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values by name, but for those that only refer to a function's own."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute if not a.ref_attr_name}


def input_of(node: NodeProto, place: int) -> str:
    """The name of an optional input, empty where it is left out."""
    return str(node.input[place]) if place < len(node.input) else ""


def scanned_count(node: NodeProto) -> int:
    """How many of a Scan's inputs it goes through; the last ones, and never more than there are."""
    count = int(attributes_of(node).get("num_scan_inputs", 0))
    return min(max(count, 0), len(node.input))


def type_name(kind: int) -> str:
    """An element type for people, such as `float16`; its number where ONNX has none such."""
    return TensorProto.DataType.Name(kind).lower() if kind in TensorProto.DataType.values() else f"type {kind}"


def shown(node: NodeProto) -> str:
    """A node for people: its operator, and its name or else what it makes."""
    return f"{node.op_type} {printable(node.name or ', '.join(node.output), _LONGEST_NAME)!r}"


def shown_with_others(names: Sequence[str]) -> str:
    """The first of several nodes, and how many more there are."""
    return names[0] + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")


def subgraphs_of(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that a node holds, such as the body of a Loop."""
    for attribute in node.attribute:
        yield from [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs


def _with_subgraphs(scope: Scope) -> Iterator[Scope]:
    yield scope
    for node in scope.nodes:
        for graph in subgraphs_of(node):
            yield from _with_subgraphs(_scope(graph.node, graph, scope, node))


def _scope(
    nodes: Iterable[NodeProto], graph: GraphProto | None, outer: Scope | None, holder: NodeProto | None
) -> Scope:
    own, readers = tuple(nodes), defaultdict(list)
    for node in own:
        for name in filter(None, node.input):
            readers[name].append(node)
    declared = (*graph.value_info, *graph.output, *graph.input) if graph else ()
    return Scope(
        nodes=own,
        graph=graph,
        outer=outer,
        holder=holder,
        producers={name: node for node in own for name in node.output if name},
        readers=dict(readers),
        tensors=dict(_constants(own, graph)),
        declared={value.name: value for value in declared},
    )


def _constants(nodes: Iterable[NodeProto], graph: GraphProto | None) -> Iterator[tuple[str, TensorProto]]:
    if graph:
        yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in nodes:
        if is_onnx(node, "Constant") and node.output:
            for name, value in attributes_of(node).items():
                if isinstance(value, TensorProto):
                    yield node.output[0], value
                elif name in ("value_int", "value_ints"):
                    dims = [len(value)] if name == "value_ints" else []
                    values = value if name == "value_ints" else [value]
                    yield node.output[0], helper.make_tensor("", TensorProto.INT64, dims, values)


def _declared_dims(value: ValueInfoProto) -> tuple[int | None, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
