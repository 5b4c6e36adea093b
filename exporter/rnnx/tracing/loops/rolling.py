"""The door to rolled loops: a model whose loops in Python fix an axis becomes one that takes any length."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from rnnx.errors import ExportError
from rnnx.tracing.loops.folding import Unfoldable, folded
from rnnx.tracing.loops.markers import loop_nodes
from rnnx.tracing.loops.rolled import Loop, Rolled
from rnnx.tracing.loops.rolled_model import RolledModel
from rnnx.tracing.loops.unrolled import UnreadableProgram, unrolled
from rnnx.tracing.signature import CallSignature
from rnnx.tracing.specializations import LongLoop
from rnnx.tracing.tracing import Trace, trace_model
from rnnx_runtime.errors import RnnxError

LENGTHS = (4, 5, 6)
"""The lengths of the three traces: above 1, which torch.export takes for a broadcast, and enough for two equal steps."""

LONGEST = 7
"""The longest loop that is traced step by step before it is rolled; no length of the three, for sizes tell axes apart."""

Axes = frozenset[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Unrolling:
    """How a model is traced: `trace` takes tensors and which of their axes are free."""

    module: nn.Module
    trace: Callable[[Sequence[Tensor], Sequence[Sequence[bool]]], Trace]
    tensors: Sequence[Tensor]


def first_trace(
    trace: Callable[[Sequence[Tensor], int | None], Trace], tensors: Sequence[Tensor], *, rolls: bool
) -> tuple[Trace, Sequence[Tensor]]:
    """The trace of a model in which nothing is rolled, and the example that it was made with.

    A long loop is not copied as often as it runs: the example is cut to `LONGEST` along it. `trace` takes tensors and
    how long a loop may be; without `rolls` every loop is copied.
    """
    try:
        return trace(tensors, LONGEST if rolls else None), tensors
    except LongLoop as error:
        for axes in _axes_of_size(tensors, error):
            short = [_resized(own, place, axes, LONGEST) for place, own in enumerate(tensors)]
            try:
                return trace(short, LONGEST), short
            except RnnxError:
                continue
    return trace(tensors, None), tensors


def _axes_of_size(tensors: Sequence[Tensor], loop: LongLoop) -> Iterator[Axes]:
    """All axes that are as long as a loop's, and the loop's alone."""
    yield frozenset(
        (place, axis) for place, own in enumerate(tensors) for axis, size in enumerate(own.shape) if size == loop.size
    )
    yield frozenset(((loop.input, loop.axis),))


def rolled_trace(model: Unrolling, found: Trace, free: Sequence[Sequence[bool]]) -> Trace | Unfoldable | None:
    """The trace with every loop over time rolled; why there is none, or None where the model has no such loop.

    `found` is the trace in which loops fixed axes, and `free` says which axes were free in it.
    """
    reason: Unfoldable | None = None
    for axes in _candidates(model.tensors, found):
        try:
            return _rolled(model, free, found, axes)
        except Unfoldable as error:
            reason = reason or error
        except (ExportError, UnreadableProgram, RuntimeError, ValueError, TypeError, IndexError):
            continue
    return reason


def _candidates(tensors: Sequence[Tensor], found: Trace) -> Iterator[Axes]:
    """The axes that a loop may go over: those that loops fix, with all that the trace fixed at the same size, then alone."""
    fixed = [own for own in found.specializations if own.input < len(tensors)]
    weights = {(own.input, own.axis) for own in fixed if own.is_weights}
    for size in dict.fromkeys(own.size for own in fixed if own.is_loop):
        loops = frozenset((own.input, own.axis) for own in fixed if own.is_loop and own.size == size) - weights
        together = frozenset((own.input, own.axis) for own in fixed if own.size == size) - weights
        if loops:
            yield from dict.fromkeys((together | _bounded(found, size), together, loops))


def _bounded(found: Trace, size: int) -> Axes:
    """The free axes of this size that must not be shorter: a loop reads as many of their elements."""
    program = found.program
    lower = {symbol: bounds.lower for symbol, bounds in program.range_constraints.items()}
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    return frozenset(
        (place, axis)
        for place, name in enumerate(program.graph_signature.user_inputs)
        for axis, own in enumerate(nodes[name].meta["val"].shape)
        if isinstance(own, torch.SymInt) and own.node.hint == size and lower.get(own.node.expr, 0) >= size > 2
    )


def _rolled(model: Unrolling, free: Sequence[Sequence[bool]], found: Trace, axes: Axes) -> Trace:
    still = _still_free(found, free, axes)
    programs = []
    for length in LENGTHS:
        trace = model.trace([_resized(own, place, axes, length) for place, own in enumerate(model.tensors)], still)
        programs.append(unrolled(trace.program, length))
    rolled = folded(programs)
    if not any(isinstance(part, Loop) for part in rolled.parts):
        raise UnreadableProgram("no loop")
    if any(isinstance(part, Loop) and part.fewer > 1 for part in rolled.parts):
        raise Unfoldable(reason="a first and a last step that differ from the others", line="forward")
    return _traced_again(model, rolled, trace, axes, still)


def _traced_again(
    model: Unrolling, rolled: Rolled, unrolled_trace: Trace, axes: Axes, still: Sequence[Sequence[bool]]
) -> Trace:
    tensors = [_resized(own, place, axes, LENGTHS[-1]) for place, own in enumerate(model.tensors)]
    open_axes = [
        tuple(own or (place, axis) in axes for axis, own in enumerate(each)) for place, each in enumerate(still)
    ]
    flat = RolledModel(model.module, rolled, min(axes), unrolled_trace.outputs).eval()
    count = len(tensors)
    signature = CallSignature(
        names=tuple(f"input_{place}" for place in range(count)),
        places=tuple(range(count)),
        leaves=(None,) * count,
        structure=pytree.tree_flatten((tuple([0] * count), {}))[1],
    )
    trace = trace_model(
        flat, signature, tensors, open_axes, output_names=unrolled_trace.outputs, lifted=(), any_size=True
    )
    if any(not isinstance(own.time, torch.SymInt) for own in loop_nodes(trace.program)):
        raise UnreadableProgram("a loop of fixed length")
    return replace(trace, calls=unrolled_trace.calls, notes=(*unrolled_trace.notes, *trace.notes))


def _still_free(found: Trace, free: Sequence[Sequence[bool]], axes: Axes) -> list[tuple[bool, ...]]:
    """The axes that were free and that nothing fixed, without those that the loops go over."""
    fixed = {(own.input, own.axis) for own in found.specializations}
    return [
        tuple(own and (place, axis) not in fixed and (place, axis) not in axes for axis, own in enumerate(each))
        for place, each in enumerate(free)
    ]


def _resized(tensor: Tensor, place: int, axes: Axes, length: int) -> Tensor:
    """A tensor of another length along its axes over which loops go."""
    for axis in (axis for own, axis in axes if own == place):
        indices: Any = torch.arange(length) % max(1, tensor.shape[axis])
        tensor = tensor.index_select(axis, indices)
    return tensor


@contextmanager
def told_why(reason: Trace | Unfoldable | None) -> Iterator[None]:
    """Add to a refusal of a loop inside the block why the loop cannot be rolled."""
    try:
        yield
    except ExportError as error:
        if not isinstance(reason, Unfoldable):
            raise
        got = f"{error.got}; it does not roll up, because of {reason}"
        raise type(error)(error.subject, got=got, expected=error.expected, remedy=error.remedy) from None
