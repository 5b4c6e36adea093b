"""Shapes that a graph computes, as far as they are constant: `Concat([2], batch of x, [8])` is `(2, None, 8)`."""

from collections.abc import Callable

from onnx import NodeProto

from rnnx.linting.rules.scopes import Scope, attributes_of, input_of

Values = tuple[int | None, ...]
"""A row of integers, None where one depends on the input."""

_DEEPEST = 12
"""Nodes to follow upstream: shape arithmetic is shallow, and a cycle of a damaged graph must end."""


def shape_values(scope: Scope, name: str, depth: int = _DEEPEST) -> Values | None:
    """The values of an integer tensor in one row; None where even their number is unknown."""
    constant = scope.ints(name)
    node = scope.producer(name)
    if constant is not None or node is None or depth == 0:
        return constant
    evaluate = _EVALUATORS.get(node.op_type)
    return evaluate(scope, node, depth - 1) if evaluate else None


def _same(scope: Scope, node: NodeProto, depth: int) -> Values | None:
    return shape_values(scope, node.input[0], depth)


def _concat(scope: Scope, node: NodeProto, depth: int) -> Values | None:
    parts = [shape_values(scope, name, depth) for name in node.input]
    known = [part for part in parts if part is not None]
    return tuple(value for part in known for value in part) if len(known) == len(parts) else None


def _shape(scope: Scope, node: NodeProto, depth: int) -> Values | None:
    """As many unknown values as the tensor has dims; a fixed dim is the tensor's fault, not that of who reads it."""
    dims = scope.dims(node.input[0])
    own = attributes_of(node)
    start, end = own.get("start", 0), own.get("end")
    if dims is not None:
        return (None,) * len(dims[start:end])
    return (None,) * (end - start) if end is not None and end > start >= 0 else None


def _gather(scope: Scope, node: NodeProto, depth: int) -> Values | None:
    """The chosen values; one for each index even where the row itself is unknown."""
    indices = scope.ints(node.input[1])
    row = shape_values(scope, node.input[0], depth)
    if indices is None:
        return None
    if row is None:
        return (None,) * len(indices)
    return tuple(row[index] if -len(row) <= index < len(row) else None for index in indices)


def _slice(scope: Scope, node: NodeProto, depth: int) -> Values | None:
    row = shape_values(scope, node.input[0], depth)
    bounds = [scope.ints(name) for name in node.input[1:3]]
    steps = scope.ints(input_of(node, 4)) if input_of(node, 4) else (1,)
    if len(bounds) != 2 or any(bound is None or len(bound) != 1 for bound in bounds) or steps != (1,):
        return None
    start, end = (bound[0] for bound in bounds if bound)
    if row is not None:
        return row[start:end]
    return (None,) * (end - start) if 0 <= start < end <= start + 8 else None


def _arithmetic(scope: Scope, node: NodeProto, depth: int) -> Values | None:
    """One value for each place, all unknown: what depends on the input is not worth computing here."""
    lengths = {len(row) for name in node.input if (row := shape_values(scope, name, depth)) is not None}
    return (None,) * max(lengths) if lengths else None


_EVALUATORS: dict[str, Callable[[Scope, NodeProto, int], Values | None]] = {
    **dict.fromkeys(("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape"), _same),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "ReduceProd", "Max", "Min"), _arithmetic),
    "Concat": _concat,
    "Shape": _shape,
    "Gather": _gather,
    "Slice": _slice,
}
