"""A model's trace with every axis free that can be, its loops rolled, and what it fixed told."""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from rnnx.errors import ExportError, FrozenDimError, UntracedError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.loops.folding import FoldingError
from rnnx.tracing.loops.markers import recurrences_beside_loops
from rnnx.tracing.loops.rolling import Unrolling, first_trace, rolled_trace, told_why
from rnnx.tracing.recurrence_nodes import RecurrenceNode, recurrence_nodes
from rnnx.tracing.sizes.dims import (
    axes_to_fix,
    input_shapes,
    output_values,
)
from rnnx.tracing.sizes.fewer_axes import (
    Free,
    input_lines,
    traced_roles,
)
from rnnx.tracing.sizes.fixed_axes import FixedAxes
from rnnx.tracing.sizes.frozen_dims import refuse_frozen_dims
from rnnx.tracing.sizes.inner_axes import inner_notes
from rnnx.tracing.sizes.squeezed_axes import single_axes
from rnnx.tracing.states.data_paths import state_inputs
from rnnx.tracing.states.layer_states import recurrent_layers
from rnnx.tracing.subject import Subject
from rnnx.tracing.tracing import Trace, refuse_half_results, trace_model


def free_trace(subject: Subject, options: ModelOptions, free: Free) -> tuple[Trace, list[RecurrenceNode]]:
    """The trace, and the calls of layers outside of its loops.

    Raises:
        ExportError: the model cannot be traced.
        FrozenDimError: it fixes an axis that `free` says may vary; names the model's line.
    """
    tracing = _Tracing(subject, options, free)
    tracing.grow()
    tracing.fix_axes()
    notes = tracing.roll()
    if options.static:
        return tracing.found, tracing.recurrences
    names = tracing.names
    own = [one for one in tracing.found.specializations if one.input < len(names) and not one.is_weights]
    inner = dict.fromkeys(inner_notes(own, tracing.recurrences, names))
    fixed = sorted(tracing.in_the_way)
    told = (f"axis {axis} of {name} is fixed, so that the batch can be free" for name, axis in fixed)
    return replace(tracing.found, notes=(*tracing.found.notes, *inner, *told, *notes)), tracing.recurrences


class _Tracing:
    """A model's trace so far: its example, the axes that are free in it, and the calls of layers outside of loops."""

    def __init__(self, subject: Subject, options: ModelOptions, free: Free) -> None:
        """The first trace; a long loop is cut, and the example with it."""
        self._subject, self._options, self._free = subject, options, free
        self.names, self._whole = list(subject.tensors), list(subject.tensors.values())
        self.in_the_way: set[tuple[str, int]] = set()
        self._kinds = {name: type(own).__name__ for name, own in recurrent_layers(subject.module).items()}
        first = first_trace(lambda own, longest: self._trace(own, free, longest), self._whole, rolls=not options.static)
        self.found, self._tensors = first
        self._is_cut = self._tensors is not self._whole
        refuse_half_results(self.found)
        _refuse_other_ranks(subject, self.found)
        eager = EagerModel(subject.module, subject.signature, output_names=subject.outputs, lifted=subject.lifted)
        self._axes = FixedAxes(eager=eager, tensors=subject.tensors, trace=self.found, free=free)
        self.recurrences = list(recurrence_nodes(self.found.program))

    def grow(self) -> None:
        """Trace a larger example where the trace took an axis of size one for all there can be."""
        if self._options.static or self._is_cut:
            return
        larger = list(self._axes.larger().values())
        if any(own.shape != tensor.shape for own, tensor in zip(larger, self._whole, strict=True)):
            self._take(larger)

    def fix_axes(self) -> None:
        """Fix the axes that the trace cannot leave free, and those that are in the batch's way."""
        fixed = self._axes_to_fix()
        self.in_the_way = self._axes.with_trace(self.found, self._tensors).in_the_way(fixed)
        if self.in_the_way:
            self._take(self._tensors, fixed=self.in_the_way)
            fixed = self._axes_to_fix()
        if fixed:
            self._axes.with_trace(self.found, self._tensors).refuse_tied(fixed)
            self._take(self._tensors, fixed=fixed)

    def roll(self) -> tuple[str, ...]:
        """Roll the loops where their copies fix an axis; notes on what is fixed, which is refused where it need not."""
        notes = () if self._options.static else self._notes()
        if notes is not None and not self._is_cut:
            return notes
        rolled: Trace | FoldingError | None = None
        if notes is None:
            unrolling = Unrolling(module=self._subject.module, trace=self._trace, tensors=self._tensors)
            rolled = rolled_trace(unrolling, self.found, self._free)
        if isinstance(rolled, Trace):
            self.found, self.recurrences, self._kinds = rolled, recurrences_beside_loops(rolled.program), {}
        elif self._is_cut:
            self._take(self._whole)
        roles = traced_roles(list(input_shapes(self.found.program, self.names).values()), self.recurrences)
        told = self._options.dims or self._subject.lifted.pairs
        with _told_how_to_fix("" if told else input_lines(self.names, self._tensors, roles)), told_why(rolled):
            return self._refuse()

    def _notes(self) -> tuple[str, ...] | None:
        """The notes of a model whose loops may stay copied, such as one over its own bands; None of a refused one."""
        try:
            return self._refuse()
        except ExportError:
            return None

    def _refuse(self) -> tuple[str, ...]:
        axes = replace(self._axes.with_trace(self.found, self._tensors), free=self._free)
        refuse_frozen_dims(self.found, self.names, self.recurrences, self._kinds, axes.takes_other)
        return axes.refuse(self.found.calls)

    def _take(self, tensors: Sequence[Tensor], fixed: Collection[tuple[str, int]] = ()) -> None:
        """Trace anew with this example, and with these axes fixed."""
        self._free = _without(self._free, fixed, self.names)
        self.found, self._tensors = self._trace(tensors, self._free), tensors
        self.recurrences = list(recurrence_nodes(self.found.program))

    def _trace(self, tensors: Sequence[Tensor], free: Sequence[Sequence[int]], longest: int | None = None) -> Trace:
        return trace_model(
            self._subject.module,
            self._subject.signature,
            tensors,
            free,
            output_names=self._subject.outputs,
            lifted=self._subject.lifted,
            deterministic=self._options.deterministic,
            longest=longest,
        )

    def _axes_to_fix(self) -> set[tuple[str, int]]:
        program, shapes = self.found.program, input_shapes(self.found.program, self.names)
        states = state_inputs(program, self.names, self.recurrences)
        single = single_axes(program, shapes, self.recurrences)
        return single | axes_to_fix(program, shapes, self.recurrences, states)


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


def _without(free: Free, fixed: Collection[tuple[str, int]], names: Sequence[str]) -> Free:
    return tuple(
        tuple(own if (name, axis) not in fixed else False for axis, own in enumerate(axes))
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
