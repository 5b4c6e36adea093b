"""Whether a recurrent node's states can be given from outside, and are given back."""

from collections.abc import Iterator

from onnx import NodeProto

from rnnx.rules.recurrences import Recurrence
from rnnx.rules.scopes import Scope, is_onnx

_STRUCTURAL = (
    "Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Transpose", "Slice", "Split", "Gather", "Concat", "Expand",
)  # fmt: skip
"""Operators that hand values on as they are, in another arrangement."""


def takes_states(layer: Recurrence) -> bool:
    """Whether every initial state comes from outside or is computed; False where one is absent or constant."""
    return all(_is_variable(layer.scope, name, set()) for name in layer.initial_states)


def gives_states(layer: Recurrence) -> bool:
    """Whether every final state reaches an output of its graph, rearranged at most."""
    names = layer.outputs[1 : 3 if layer.operator == "LSTM" else 2]
    return all(name and _reaches_output(layer.scope, name, set()) for name in names)


def _is_variable(scope: Scope, name: str, seen: set[str]) -> bool:
    if not name or name in seen or scope.tensor(name) is not None:
        return False
    seen.add(name)
    node = scope.producer(name)
    if node is None:
        return True  # an input, or a tensor of a scope around this one
    if is_onnx(node, "ConstantOfShape", "Constant"):
        return False
    if is_onnx(node, *_STRUCTURAL):
        return any(_is_variable(scope, source, seen) for source in _data_inputs(node))
    return True


def _data_inputs(node: NodeProto) -> list[str]:
    """The inputs that hold values; the others of these operators are shapes, axes and indices."""
    return list(node.input) if node.op_type == "Concat" else list(node.input[:1])


def _reaches_output(scope: Scope, name: str, seen: set[str]) -> bool:
    if name in seen or scope.graph is None:
        return name not in seen
    seen.add(name)
    if any(output.name == name for output in scope.graph.output):
        return True
    return any(_reaches_output(scope, target, seen) for target in _handed_on(scope, name))


def _handed_on(scope: Scope, name: str) -> Iterator[str]:
    for node in scope.readers.get(name, ()):
        if is_onnx(node, *_STRUCTURAL) and name in _data_inputs(node):
            yield from node.output
