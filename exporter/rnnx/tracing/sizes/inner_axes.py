"""Recurrent layers over an axis that is the model's own, such as its bands, its queries or a forecast's horizon."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.tracing.recurrence_nodes import RecurrenceNode
from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.sizes.specializations import Specialization


def is_own_axis(own: RecurrenceNode, recurrences: Sequence[RecurrenceNode], program: ExportedProgram) -> bool:
    """Whether a layer whose time is a number runs over an axis of the model's own, and not over a frozen time.

    That is where another layer's time is free while this one's rows are, and where its sequence is no input's.
    """
    has_rows = own.batch is not None and not expression_of(own.batch).is_Integer
    return not _is_given(own, program) or (has_rows and bool(_times(recurrences)))


def _times(recurrences: Sequence[RecurrenceNode]) -> set[Any]:
    times = [own.time for own in recurrences if own.time is not None]
    return {symbol for time in times for symbol in expression_of(time).free_symbols}


def _is_given(own: RecurrenceNode, program: ExportedProgram) -> bool:
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
    """A note for each axis of an input that a layer runs over, at a size that the model itself has."""
    for own in recurrences:
        if own.time is None or not expression_of(own.time).is_Integer:
            continue
        for one in fixed:
            if one.size == expression_of(own.time) > 1:
                place = f"axis {one.axis} of {names[one.input]}"
                yield f"{place} is {one.size}, the steps of layer {own.layer!r}, for the model fixes it: {one.line}"


def _is_tensor(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor | tuple | list)
