"""A batch or a time that the model fixes at its example's size, told with the line that does it."""

from collections.abc import Sequence

import torch

from rnnx.errors import ExportError, FrozenDimError
from rnnx.tracing.dims import expression_of
from rnnx.tracing.opaque_layers import looped_cell
from rnnx.tracing.recurrence_nodes import RecurrenceNode
from rnnx.tracing.specializations import Specialization
from rnnx.tracing.tracing import Trace

_NUMBERS = "write -1 or x.size(...) in place of a number, and slices up to x.size(...)"
_REMEDIES = (
    (".tolist()", "hand the tensor itself over, without .tolist()"),
    ("int(", "write x.size(...) without int() around it"),
    ("len(", "write x.size(0) in place of len(x)"),
    ("linspace(", "write torch.arange(n) / (n - 1) in place of torch.linspace"),
)
"""What to write in place of a call that makes a size a plain number."""


def refuse_frozen_dims(
    trace: Trace, names: Sequence[str], recurrences: Sequence[RecurrenceNode], kinds: dict[str, str]
) -> None:
    """Refuse a model whose recurrent layers run at a fixed batch or time, and a loop over time in Python.

    A size that comes from no input, such as one step of a decoder, is the model's own and no fault.

    Raises:
        ExportError: a Python loop over time around a cell, or around gates that are written out.
        FrozenDimError: an axis of an input is fixed.
    """
    fixed = [own for own in trace.specializations if own.input < len(names) and not own.is_weights]
    loops = [own for own in fixed if own.is_loop]
    cells = [name for name, count in trace.calls.items() if count > 1 and kinds.get(name, "").endswith("Cell")]
    if loops and cells:
        raise looped_cell(cells[0], kinds[cells[0]], f"a loop over {_place(loops[0], names)} at {loops[0].line}")
    if loops and not recurrences:
        raise _written_out(loops[0], names)
    for own in recurrences:
        for loop in loops:
            _refuse_loop(loop, own, names)
            _refuse_pieces(loop, own, trace.calls[own.layer], names)
        for role, size in (("batch", own.batch), ("time", own.time)):
            if size is not None and expression_of(size).is_Integer:
                _refuse_frozen(role, int(expression_of(size)), own, fixed, names)


def refuse_no_recurrence(trace: Trace, subject: str) -> None:
    """Refuse a model that calls no recurrent layer."""
    if not trace.calls:
        raise ExportError(
            subject,
            got="no call of a recurrent layer in forward",
            expected="an nn.LSTM, nn.GRU or nn.RNN, or one of their cells",
            remedy="export it with torch.onnx.export(..., dynamo=True)",
        )


def _refuse_loop(loop: Specialization, own: RecurrenceNode, names: Sequence[str]) -> None:
    """Refuse a loop over as many rows or steps as a layer's free batch or time has in the example."""
    for role, size in (("batch", own.batch), ("time", own.time)):
        if isinstance(size, torch.SymInt) and size.node.hint == loop.size:
            raise _frozen(role, loop, own, names)


def _refuse_pieces(loop: Specialization, own: RecurrenceNode, calls: int, names: Sequence[str]) -> None:
    """Refuse a loop that calls a layer on one row or one step after another."""
    for role, size in (("batch", own.batch), ("time", own.time)):
        if size is not None and expression_of(size).is_Integer and calls == loop.size > 1:
            raise _frozen(role, loop, own, names)


def _refuse_frozen(
    role: str, size: int, own: RecurrenceNode, fixed: Sequence[Specialization], names: Sequence[str]
) -> None:
    suspects = [one for one in fixed if one.size == size] or [one for one in fixed if size > 1]
    if not suspects:
        return
    raise _frozen(role, next((one for one in suspects if one.is_loop), suspects[0]), own, names)


def _frozen(role: str, first: Specialization, own: RecurrenceNode, names: Sequence[str]) -> FrozenDimError:
    remedy = "let nn.LSTM or tensor operations go over it instead of Python" if first.is_loop else ""
    remedy = next((own for code, own in _REMEDIES if code in first.line), remedy) or _NUMBERS
    return FrozenDimError(
        f"{_place(first, names)}, the {role} of layer {own.layer!r}",
        got=f"a model that fixes it at {first.size}, the example's size: {first.line}",
        expected=f"a {role} that is free",
        remedy=f"{remedy}, or export with static=True (--static) for this size alone",
    )


def _written_out(loop: Specialization, names: Sequence[str]) -> ExportError:
    return ExportError(
        "a recurrence written out in Python",
        got=f"a loop over {_place(loop, names)} at {loop.line}",
        expected="nn.LSTM, nn.GRU or nn.RNN, which take the whole sequence",
        remedy="put the gates' weights into the layer (docs of torch.nn.LSTM give the order), or export one step of "
        "the cell and let the caller loop",
    )


def _place(own: Specialization, names: Sequence[str]) -> str:
    return f"input {names[own.input]!r} axis {own.axis}"
