"""Whether a recurrent node's states can be given from outside, and are given back."""

from collections.abc import Callable, Iterable, Iterator

from onnx import NodeProto

from rnnx.linting.rules.recurrences import Recurrence
from rnnx.linting.rules.scopes import Scope, is_onnx

_STRUCTURAL = (
    "Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Transpose", "Slice", "Split", "Gather", "Concat", "Expand",
    "QuantizeLinear", "DequantizeLinear",
)  # fmt: skip
"""Operators that hand values on as they are, in another arrangement."""


def takes_states(layer: Recurrence) -> bool:
    """Whether every initial state comes from outside or is computed; False where one is absent or constant."""
    return all(_is_variable(layer.scope, name) for name in layer.initial_states)


def gives_states(layer: Recurrence) -> bool:
    """Whether every final state reaches an output of its graph, rearranged at most."""
    names = layer.outputs[1 : 3 if layer.operator == "LSTM" else 2]
    return all(name and _reaches_output(layer.scope, name) for name in names)


def _is_variable(scope: Scope, name: str) -> bool:
    """Whether a calculation, an input or a tensor of a scope around this one is among a tensor's sources."""
    sources = (source for source in _walked(name, lambda target: _handed_from(scope, target)) if source)
    return any(scope.tensor(source) is None and _is_source(scope.producer(source)) for source in sources)


def _is_source(node: NodeProto | None) -> bool:
    return node is None or not is_onnx(node, "ConstantOfShape", "Constant", *_STRUCTURAL)


def _handed_from(scope: Scope, name: str) -> list[str]:
    node = scope.producer(name)
    return _data_inputs(node) if node is not None and is_onnx(node, *_STRUCTURAL) else []


def _reaches_output(scope: Scope, name: str) -> bool:
    if scope.graph is None:
        return True  # a function's outputs are its caller's business
    outputs = {output.name for output in scope.graph.output}
    return any(target in outputs for target in _walked(name, lambda source: _handed_on(scope, source)))


def _handed_on(scope: Scope, name: str) -> Iterator[str]:
    for node in scope.readers.get(name, ()):
        if is_onnx(node, *_STRUCTURAL) and name in _data_inputs(node):
            yield from node.output


def _data_inputs(node: NodeProto) -> list[str]:
    """The inputs that hold values; the others of these operators are shapes, axes and indices."""
    return list(node.input) if node.op_type == "Concat" else list(node.input[:1])


def _walked(start: str, step: Callable[[str], Iterable[str]]) -> Iterator[str]:
    """A tensor and all that can be reached from it, each once."""
    seen, waiting = {start}, [start]
    while waiting:
        name = waiting.pop()
        yield name
        new = [other for other in step(name) if other not in seen]
        seen.update(new)
        waiting += new
