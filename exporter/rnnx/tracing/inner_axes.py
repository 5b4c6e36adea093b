"""Recurrent layers over an axis that is the model's own, such as its bands, its queries or a forecast's horizon."""

from collections.abc import Iterator, Sequence

from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.tracing.dims import expression_of
from rnnx.tracing.recurrence_nodes import RecurrenceNode
from rnnx.tracing.specializations import Specialization


def is_inner(own: RecurrenceNode, recurrences: Sequence[RecurrenceNode]) -> bool:
    """Whether a layer runs over an axis inside each step of another: the other's time is in its batch, `B*T`."""
    times = {
        symbol for other in recurrences if other.time is not None for symbol in expression_of(other.time).free_symbols
    }
    return own.batch is not None and bool(times & expression_of(own.batch).free_symbols)


def is_given(own: RecurrenceNode, program: ExportedProgram) -> bool:
    """Whether the sequence that a layer goes over is made of an input's values, and not of the model's alone."""
    inputs, seen = {*program.graph_signature.user_inputs}, set[Node]()
    waiting: list[Node] = [own.node.args[0][0]]  # type: ignore[index, list-item]
    while waiting:
        node = waiting.pop()
        if node.name in inputs:
            return True
        if node not in seen:
            seen.add(node)
            waiting += [other for other in node.all_input_nodes if _is_tensor(other)]
    return False


def inner_notes(
    fixed: Sequence[Specialization], recurrences: Sequence[RecurrenceNode], names: Sequence[str]
) -> Iterator[str]:
    """A note for each axis of an input that a layer runs over inside each step of another, at the size of the model."""
    for own in recurrences:
        if own.time is None or not expression_of(own.time).is_Integer or not is_inner(own, recurrences):
            continue
        for one in fixed:
            if one.size == expression_of(own.time) > 1:
                place = f"axis {one.axis} of {names[one.input]}"
                yield f"{place} is {one.size}, the steps of layer {own.layer!r}, for the model fixes it: {one.line}"


def _is_tensor(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor | tuple | list)
