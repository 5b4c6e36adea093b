"""A batch or a time that the model fixes at its example's size, told with the line that does it."""

from collections.abc import Callable, Sequence

import torch

from rnnx.errors import ExportError, FrozenDimError
from rnnx.tracing.opaque_layers import looped_cell
from rnnx.tracing.recurrence_nodes import RecurrenceNode, Size
from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.sizes.inner_axes import is_own_axis
from rnnx.tracing.sizes.remedies import remedy_for
from rnnx.tracing.sizes.specializations import Specialization
from rnnx.tracing.tracing import Trace


def refuse_frozen_dims(
    trace: Trace,
    names: Sequence[str],
    recurrences: Sequence[RecurrenceNode],
    kinds: dict[str, str],
    takes_other: Callable[[Specialization], bool],
) -> None:
    """Refuse a model whose recurrent layers run at a fixed batch or time, and a loop over time in Python.

    A size that comes from no input, such as one step of a decoder, is the model's own and no fault. So is that of an
    axis that `takes_other` knows the model to take at no other size, such as the 2 of `h, c = state.unbind(0)`.

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
    if not recurrences:
        _refuse_frozen_rows(fixed, names)
    for own in recurrences:
        for loop in loops:
            _refuse_loop(loop, own, names, takes_other)
            _refuse_pieces(loop, own, trace.calls[own.layer], names)
        for role, size in (("batch", own.batch), ("time", own.time)):
            if size is None or not expression_of(size).is_Integer:
                continue
            sure = [one for one in fixed if one.size == expression_of(size)]
            if role == "time" and not any(one.is_loop for one in sure) and is_own_axis(own, recurrences, trace.program):
                continue
            moves = any(_is_free(getattr(other, role)) for other in recurrences)
            is_step = role == "time" and expression_of(size) == 1  # of a decoder, which is the model's own
            others = [] if moves or is_step else [one for one in fixed if one.size > 1]
            _refuse_frozen(role, own, sure or others, names)


def _refuse_frozen_rows(fixed: Sequence[Specialization], names: Sequence[str]) -> None:
    """Refuse a first axis that a line of a model without recurrent layers fixes: nothing else tells its batch."""
    for own in fixed:
        if own.axis == 0 and own.size > 1:
            raise FrozenDimError(
                _place(own, names),
                got=f"a model that fixes it at {own.size}, the example's size: {own.line}",
                expected="a batch that is free",
                remedy=f"{remedy_for(own.line)}, or export with static=True (--static) for this size alone",
            )


def _refuse_loop(
    loop: Specialization, own: RecurrenceNode, names: Sequence[str], takes_other: Callable[[Specialization], bool]
) -> None:
    """Refuse a loop over as many rows or steps as a layer's free batch or time has in the example."""
    for role, size in (("batch", own.batch), ("time", own.time)):
        if isinstance(size, torch.SymInt) and size.node.hint == loop.size and takes_other(loop):
            raise _frozen(role, loop, own, names)


def _refuse_pieces(loop: Specialization, own: RecurrenceNode, calls: int, names: Sequence[str]) -> None:
    """Refuse a loop that calls a layer on one row or one step after another."""
    for role, size in (("batch", own.batch), ("time", own.time)):
        if size is not None and expression_of(size).is_Integer and calls == loop.size > 1:
            raise _frozen(role, loop, own, names)


def _is_free(size: Size | None) -> bool:
    return size is not None and not expression_of(size).is_Integer


def _refuse_frozen(role: str, own: RecurrenceNode, suspects: Sequence[Specialization], names: Sequence[str]) -> None:
    if not suspects:
        return
    raise _frozen(role, next((one for one in suspects if one.is_loop), suspects[0]), own, names)


def _frozen(role: str, first: Specialization, own: RecurrenceNode, names: Sequence[str]) -> FrozenDimError:
    remedy = remedy_for(first.line, is_loop=first.is_loop)
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
