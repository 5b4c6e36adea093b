"""A model's trace with every axis free that can be, its loops rolled, and what it fixed told."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from rnnx.errors import ExportError, FrozenDimError, UntracedError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.data_paths import state_inputs
from rnnx.tracing.dims import (
    axes_to_fix,
    input_shapes,
    output_values,
)
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.fewer_axes import (
    Free,
    input_lines,
    traced_roles,
)
from rnnx.tracing.fixed_axes import FixedAxes
from rnnx.tracing.frozen_dims import refuse_frozen_dims
from rnnx.tracing.inner_axes import inner_notes
from rnnx.tracing.layer_states import recurrent_layers
from rnnx.tracing.loops.folding import FoldingError
from rnnx.tracing.loops.markers import recurrences_beside_loops
from rnnx.tracing.loops.rolling import Unrolling, first_trace, rolled_trace, told_why
from rnnx.tracing.recurrence_nodes import RecurrenceNode, recurrence_nodes
from rnnx.tracing.subject import Subject
from rnnx.tracing.tracing import Trace, refuse_half_results, trace_model


def free_trace(subject: Subject, options: ModelOptions, free: Free) -> tuple[Trace, list[RecurrenceNode]]:
    """The trace, and the calls of layers outside of its loops.

    Raises:
        ExportError: the model cannot be traced.
        FrozenDimError: it fixes an axis that `free` says may vary; names the model's line.
    """
    names, whole = list(subject.tensors), list(subject.tensors.values())

    def trace(tensors: Sequence[Tensor], free: Sequence[Sequence[bool]], longest: int | None = None) -> Trace:
        return trace_model(
            subject.module,
            subject.signature,
            tensors,
            free,
            output_names=subject.outputs,
            lifted=subject.lifted,
            deterministic=options.deterministic,
            longest=longest,
        )

    found, tensors = first_trace(lambda own, longest: trace(own, free, longest), whole, rolls=not options.static)
    is_cut = tensors is not whole
    refuse_half_results(found)
    _refuse_other_ranks(subject, found)
    eager = EagerModel(subject.module, subject.signature, output_names=subject.outputs, lifted=subject.lifted)
    fixed_axes = FixedAxes(eager=eager, tensors=subject.tensors, trace=found, free=free)
    larger = {} if options.static or is_cut else fixed_axes.larger()
    if any(larger[name].shape != tensor.shape for name, tensor in subject.tensors.items() if larger):
        tensors = list(larger.values())
        found = trace(tensors, free)
    fixed = _axes_to_fix(found, names)
    in_the_way = fixed_axes.with_trace(found, tensors).in_the_way(fixed)
    if in_the_way:
        free = _without(free, in_the_way, names)
        found = trace(tensors, free)
        fixed = _axes_to_fix(found, names)
    if fixed:
        fixed_axes.with_trace(found, tensors).refuse_tied(fixed)
        free = _without(free, fixed, names)
        found = trace(tensors, free)
    recurrences = list(recurrence_nodes(found.program))
    kinds = {name: type(own).__name__ for name, own in recurrent_layers(subject.module).items()}

    def refuse(trace: Trace, outside: Sequence[RecurrenceNode], kinds: dict[str, str]) -> tuple[str, ...]:
        refuse_frozen_dims(trace, names, outside, kinds)
        return replace(fixed_axes.with_trace(trace, tensors), free=free).refuse(trace.calls)

    rolled: Trace | FoldingError | None = None
    notes = () if options.static else _notes(lambda: refuse(found, recurrences, kinds))
    if notes is None:
        rolled = rolled_trace(Unrolling(module=subject.module, trace=trace, tensors=tensors), found, free)
    if isinstance(rolled, Trace):
        found, recurrences, kinds = rolled, recurrences_beside_loops(rolled.program), {}
    elif is_cut:
        found, tensors = trace(whole, free), whole
        recurrences = list(recurrence_nodes(found.program))
    if notes is None or is_cut:
        roles = traced_roles(list(input_shapes(found.program, names).values()), recurrences)
        lines = "" if options.dims or subject.lifted.pairs else input_lines(names, tensors, roles)
        with _told_how_to_fix(lines), told_why(rolled):
            notes = refuse(found, recurrences, kinds)
    if not options.static:
        own = [one for one in found.specializations if one.input < len(names) and not one.is_weights]
        told = (f"axis {axis} of {name} is fixed, so that the batch can be free" for name, axis in sorted(in_the_way))
        inner = dict.fromkeys(inner_notes(own, recurrences, names))
        found = replace(found, notes=(*found.notes, *inner, *told, *notes))
    return found, recurrences


def _notes(refuse: Callable[[], tuple[str, ...]]) -> tuple[str, ...] | None:
    """The notes of a model whose loops may stay copied, such as one over its own bands; None of one that is refused."""
    try:
        return refuse()
    except ExportError:
        return None


@contextlib.contextmanager
def _told_how_to_fix(lines: str) -> Iterator[None]:
    """Add to a refusal of a fixed axis inside the block the options that fix it on purpose."""
    try:
        yield
    except FrozenDimError as error:
        if not lines:
            raise
        remedy = f"{error.remedy}; where the size is the model's own, such as its bands, fix that axis: {lines}"
        raise FrozenDimError(error.subject, got=error.got, expected=error.expected, remedy=remedy) from None


def _axes_to_fix(found: Trace, names: Sequence[str]) -> set[tuple[str, int]]:
    recurrences = list(recurrence_nodes(found.program))
    states = state_inputs(found.program, names, recurrences)
    return axes_to_fix(found.program, input_shapes(found.program, names), recurrences, states)


def _without(free: Free, fixed: Collection[tuple[str, int]], names: Sequence[str]) -> Free:
    return tuple(
        tuple(own and (name, axis) not in fixed for axis, own in enumerate(axes))
        for name, axes in zip(names, free, strict=True)
    )


def _refuse_other_ranks(subject: Subject, trace: Trace) -> None:
    """Refuse a trace that keeps an axis which the model drops in its example; raises UntracedError."""
    for name, value in zip(trace.outputs, output_values(trace.program), strict=True):
        rank = subject.ranks.get(name, value.dim())
        if rank != value.dim():
            raise UntracedError(
                f"output {name}",
                got=f"{rank} axes from PyTorch on the example: a squeeze drops those of size 1",
                expected="an example with more than one of what the model squeezes, such as two rows and two steps",
                remedy="give a larger example, or name the axis in the model: squeeze(dim)",
            )
