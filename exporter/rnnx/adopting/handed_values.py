"""Where values go that a graph only rearranges, through subgraphs too: from an input to a state, from a state out.

A subgraph's names are its own, and it reads those around it; so a value is told by its scope and its name.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnx import NodeProto

from rnnx.linting.rules.scopes import Scope, attributes_of, is_onnx

Value = tuple[int, str]
"""The number of a scope and a tensor's name in it."""

ARRANGING = (
    "Identity", "Cast", "CastLike", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose", "Slice", "Split",
    "Gather", "Concat", "Expand", "Pad", "Where", "ScatterND", "SplitToSequence", "SequenceAt", "SequenceConstruct",
    "ConcatFromSequence", "QuantizeLinear", "DequantizeLinear", "TopK",
)  # fmt: skip
"""Operators that hand values on as they are, in another arrangement or among others."""

_ALL_HOLD_VALUES = ("Concat", "SequenceConstruct")


@dataclass(frozen=True, kw_only=True, eq=False)
class HandedValues:
    """The edges along which values are only rearranged, both ways, over all scopes of a model."""

    scopes: Sequence[Scope]
    onwards: Mapping[Value, Sequence[Value]]
    backwards: Mapping[Value, Sequence[Value]]
    homes: Mapping[int, int]

    def value(self, scope: Scope, name: str) -> Value:
        """What a name means in a scope: its own, or that of the nearest scope around it that has it."""
        return _value(self.homes, scope, name)

    def reached_from(self, start: str) -> set[Value]:
        """All that an input of the model becomes."""
        return _closure((0, start), self.onwards)

    def sources_of(self, end: str) -> set[Value]:
        """All that an output of the model is made of."""
        return _closure((0, end), self.backwards)


def handed_values(scopes: Sequence[Scope]) -> HandedValues:
    """Follow every node of a model that only rearranges values, and subgraphs' inputs and outputs."""
    homes = {id(scope): number for number, scope in enumerate(scopes)}
    onwards, backwards = defaultdict[Value, list[Value]](list), defaultdict[Value, list[Value]](list)
    for scope in scopes:
        for source, target in (*_arranged(homes, scope), *_through_holder(homes, scope)):
            onwards[source].append(target)
            backwards[target].append(source)
    return HandedValues(scopes=scopes, onwards=onwards, backwards=backwards, homes=homes)


def carried_count(node: NodeProto) -> int:
    """How many values a Loop or a Scan hands from round to round."""
    if node.op_type == "Loop":
        return max(len(node.input) - 2, 0)
    return len(node.input) - int(attributes_of(node).get("num_scan_inputs", 0))


def _arranged(homes: Mapping[int, int], scope: Scope) -> Iterator[tuple[Value, Value]]:
    for node in scope.nodes:
        if is_onnx(node, *ARRANGING):
            for name in filter(None, data_inputs(node)):
                for target in filter(None, _outputs_of_values(node)):
                    yield _value(homes, scope, name), _value(homes, scope, target)


def data_inputs(node: NodeProto) -> list[str]:
    """The inputs that hold values; the others of such an operator are shapes, axes, indices and conditions."""
    if node.op_type in _ALL_HOLD_VALUES:
        return list(node.input)
    if node.op_type == "Where":
        return list(node.input[1:3])
    return [node.input[0], *node.input[2:3]] if node.op_type == "ScatterND" else list(node.input[:1])


def _outputs_of_values(node: NodeProto) -> Sequence[str]:
    """The outputs that hold the values: a TopK sorts them, as packing does with lengths, and gives their places too."""
    return list(node.output)[: 1 if node.op_type == "TopK" else None]


def _through_holder(homes: Mapping[int, int], scope: Scope) -> Iterator[tuple[Value, Value]]:
    """The edges into a subgraph and out of it: an If's results, and what a Loop or a Scan is given and gives."""
    node, outer, graph = scope.holder, scope.outer, scope.graph
    if node is None or outer is None or graph is None:
        return
    inner_in, inner_out = ([value.name for value in side] for side in (graph.input, graph.output))
    given: Iterable[str] = ()
    if node.op_type == "Loop":
        given, inner_in, inner_out = node.input[2:], inner_in[2:], inner_out[1:]
    elif node.op_type == "Scan":
        given = node.input
    for name, own in zip(given, inner_in, strict=False):
        if name:
            yield _value(homes, outer, name), _value(homes, scope, own)
    for own, name in zip(inner_out, node.output, strict=False):
        if name:
            yield _value(homes, scope, own), _value(homes, outer, name)


def _value(homes: Mapping[int, int], scope: Scope, name: str) -> Value:
    own: Scope | None = scope
    while own is not None:
        if name in own.producers or name in own.declared or name in own.tensors or own.outer is None:
            return homes[id(own)], name
        own = own.outer
    return 0, name


def _closure(start: Value, edges: Mapping[Value, Sequence[Value]]) -> set[Value]:
    seen, waiting = {start}, [start]
    while waiting:
        new = [other for other in edges.get(waiting.pop(), ()) if other not in seen]
        seen.update(new)
        waiting += new
    return seen
