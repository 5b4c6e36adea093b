"""The door to rolled loops: a model whose loops in Python fix an axis becomes one that takes any length."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from rnnx.errors import ExportError
from rnnx.modules.source_lines import last_own_frame
from rnnx.tracing.loops.folding import FoldingError, folded
from rnnx.tracing.loops.fusing import fused
from rnnx.tracing.loops.markers import rolled_times
from rnnx.tracing.loops.rolled import Loop, Rolled
from rnnx.tracing.loops.rolled_model import RolledModel
from rnnx.tracing.loops.turns import (
    Axes,
    Turns,
    guards_of_model,
    input_sizes,
    made_turns,
    strided_turns,
    whole_turns,
)
from rnnx.tracing.loops.unrolled import ReadingError, unrolled
from rnnx.tracing.loops.values import size_symbol
from rnnx.tracing.signature import CallSignature
from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.sizes.specializations import LongLoopError
from rnnx.tracing.states.lifted_states import LiftedStates
from rnnx.tracing.tracing import Trace, quiet_torch, trace_model
from rnnx_runtime.errors import RnnxError

LONGEST = 7
"""The longest loop that is traced step by step before it is rolled: none of the three lengths, so that axes differ."""

TraceUpTo = Callable[[Sequence[Tensor], int | None], Trace]
"""Traces tensors, with loops up to a length."""


_REFUSED = (ExportError, FoldingError, ReadingError, RuntimeError, ValueError, TypeError, IndexError)


class _NoLoopError(Exception):
    """Axes that no loop goes over, whatever the model's line looks like."""


@dataclass(frozen=True, kw_only=True)
class Unrolling:
    """How a model is traced: `trace` takes tensors and which of their axes are free; `rolled` ones have no loop."""

    module: nn.Module
    trace: Callable[[Sequence[Tensor], Sequence[Sequence[int]]], Trace]
    tensors: Sequence[Tensor]
    rolled: Axes = frozenset()


def first_trace(trace: TraceUpTo, tensors: Sequence[Tensor], *, rolls: bool) -> tuple[Trace, Sequence[Tensor]]:
    """The trace of a model in which nothing is rolled, and the example that it was made with.

    A long loop is not copied as often as it runs: the example is cut to `LONGEST` along it, unless the model wants that
    very size, as of an image. `trace` takes tensors and how long a loop may be; without `rolls` every loop is copied.
    """
    short, longest = tensors, LONGEST if rolls else None
    while True:
        try:
            return trace(short, longest), short
        except LongLoopError as error:
            cut = _cut(trace, short, error, longest or LONGEST)
            short, longest = cut or short, longest if cut else error.size
        except RnnxError:
            if short is tensors:
                raise
            return trace(tensors, None), tensors


def _cut(
    trace: Callable[[Sequence[Tensor], int | None], Trace],
    tensors: Sequence[Tensor],
    error: LongLoopError,
    longest: int,
) -> Sequence[Tensor] | None:
    """The example cut along a long loop so that this loop is traced; None where the model takes no shorter one."""
    for axes in _axes_of_size(tensors, error):
        short = [_resized(own, place, axes, LONGEST) for place, own in enumerate(tensors)]
        try:
            trace(short, longest)
        except LongLoopError as other:
            if (other.input, other.axis) in axes:
                continue
        except RnnxError:
            continue
        return short
    return None


def _axes_of_size(tensors: Sequence[Tensor], loop: LongLoopError) -> Iterator[Axes]:
    """All axes that are as long as a loop's, and the loop's alone."""
    yield frozenset(
        (place, axis) for place, own in enumerate(tensors) for axis, size in enumerate(own.shape) if size == loop.size
    )
    yield frozenset(((loop.input, loop.axis),))


def rolled_trace(model: Unrolling, found: Trace, free: Sequence[Sequence[int]]) -> Trace | FoldingError | None:
    """The trace with every loop over time rolled; why there is none, or None where the model has no such loop.

    `found` is the trace in which loops fixed axes, and `free` says which axes were free in it.
    """
    latest: Trace | None = None
    for candidates in _candidates(model.tensors, found):
        trace, turns, reason = _first_rolled(model, found, free, candidates)
        if trace is None and reason is not None:
            return reason
        if trace is not None and turns is not None:
            latest, model = trace, _with_rolled(model, found, turns)
    if latest is None:
        return None
    others = (own for own in found.specializations if not own.is_loop and (own.input, own.axis) not in model.rolled)
    return replace(latest, specializations=tuple(others))


def _first_rolled(
    model: Unrolling, found: Trace, free: Sequence[Sequence[int]], candidates: Sequence[Turns]
) -> tuple[Trace | None, Turns | None, FoldingError | None]:
    """The trace with the loops over the first axes that can be rolled; else why those of the first cannot."""
    reason: FoldingError | None = None
    for turns in candidates:
        try:
            return _rolled(model, free, found, turns), turns, None
        except _NoLoopError:
            continue
        except FoldingError as error:
            reason = reason or error
        except _REFUSED as error:
            reason = reason or FoldingError(reason=str(error).split("\n")[0][:200], line="its step")
    return None, None, reason


def _with_rolled(model: Unrolling, found: Trace, turns: Turns) -> Unrolling:
    """The same with the loops of so many steps rolled in each trace, so that others can be."""

    def trace(tensors: Sequence[Tensor], free: Sequence[Sequence[int]]) -> Trace:
        return _rolled(replace(model, tensors=tensors), free, found, turns)

    return replace(model, trace=trace, rolled=model.rolled | turns.axes)


def _candidates(tensors: Sequence[Tensor], found: Trace) -> Iterator[list[Turns]]:
    """What loops may go over, for each size of a loop, and for each number of steps that is made of a size.

    First the axes that loops fix with all that the trace fixed at the same size, and then alone.
    """
    fixed = [own for own in found.specializations if own.input < len(tensors)]
    weights = {(own.input, own.axis) for own in fixed if own.is_weights}
    for size in dict.fromkeys(own.size for own in fixed if own.is_loop):
        loops = frozenset((own.input, own.axis) for own in fixed if own.is_loop and own.size == size) - weights
        together = frozenset((own.input, own.axis) for own in fixed if own.size == size) - weights
        if loops:
            whole = map(whole_turns, dict.fromkeys((together | _bounded(found, size), together, loops)))
            code = next(own.frames[last_own_frame(own.frames)].line for own in fixed if own.is_loop)
            yield [*whole, *strided_turns(together, code or "")]
    yield from ([own] for own in made_turns(found))


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


def _rolled(model: Unrolling, free: Sequence[Sequence[int]], found: Trace, turns: Turns) -> Trace:
    still = _still_free(model, found, free, turns)
    examples = [_example(model, turns, size) for size in turns.sizes]
    traces = [_trace_of_example(model, still, own) for own in examples]
    with quiet_torch():
        programs = [unrolled(own.program, length) for own, length in zip(traces, turns.lengths, strict=True)]
    rolled = folded(programs)
    if not any(isinstance(part, Loop) for part in rolled.parts):
        raise _NoLoopError
    fewer = {part.fewer for part in rolled.parts if isinstance(part, Loop)}
    if max(fewer) > 1:
        if len(fewer) == 1 and turns.is_whole:
            return _rolled(model, free, found, turns.shorter(fewer.pop()))
        raise FoldingError(reason="a first and a last step that differ from the others", line="forward")
    simpler = fused(rolled, model.module, examples[-1])
    if simpler.rolled is not rolled:
        try:
            again = _traced_again(model, simpler.rolled, traces[-1], turns, still)
            return replace(again, cells={**again.cells, **simpler.cells})
        except _REFUSED:
            pass  # the loop as it is may be traced all the same
    return _traced_again(model, rolled, traces[-1], turns, still)


def _example(model: Unrolling, turns: Turns, size: int) -> list[Tensor]:
    return [_resized(own, place, turns.axes, size) for place, own in enumerate(model.tensors)]


def _trace_of_example(model: Unrolling, free: Sequence[Sequence[int]], tensors: Sequence[Tensor]) -> Trace:
    try:
        return model.trace(tensors, free)
    except ExportError as error:
        raise _NoLoopError from error  # the weights want the example's size


def _traced_again(
    model: Unrolling, rolled: Rolled, unrolled_trace: Trace, turns: Turns, still: Sequence[Sequence[int]]
) -> Trace:
    tensors, axes = _example(model, turns, turns.sizes[-1]), turns.axes
    open_axes = [
        tuple(own or (place, axis) in axes for axis, own in enumerate(each)) for place, each in enumerate(still)
    ]
    flat = RolledModel(model.module, rolled, turns.steps, unrolled_trace.outputs).eval()
    count = len(tensors)
    signature = CallSignature(
        names=tuple(f"input_{place}" for place in range(count)),
        places=tuple(range(count)),
        leaves=(None,) * count,
        structure=pytree.tree_flatten((tuple([0] * count), {}))[1],
    )
    trace = trace_model(
        flat, signature, tensors, open_axes, output_names=unrolled_trace.outputs, lifted=LiftedStates(), any_size=True
    )
    sizes = dict(input_sizes(trace))
    if any(expression_of(own).is_Integer for own in rolled_times(trace.program)) or any(
        sizes[own].is_Integer for own in axes
    ):
        raise ReadingError("a loop of fixed length")
    return replace(
        trace,
        calls=unrolled_trace.calls,
        guards=(*trace.guards, *guards_of_model(unrolled_trace, trace)),
        cells=unrolled_trace.cells,
        rolled=(*unrolled_trace.rolled, turns.steps.xreplace({size_symbol(*own): size for own, size in sizes.items()})),
        notes=(*unrolled_trace.notes, *trace.notes),
    )


def _still_free(model: Unrolling, found: Trace, free: Sequence[Sequence[int]], turns: Turns) -> list[tuple[int, ...]]:
    """The axes that were free and that nothing fixed, without those that the loops go over as a whole."""
    fixed = {(own.input, own.axis) for own in found.specializations} - model.rolled
    fixed |= turns.axes if turns.is_whole else set()
    return [
        tuple(own if (place, axis) not in fixed else 0 for axis, own in enumerate(each))
        for place, each in enumerate(free)
    ]


def _resized(tensor: Tensor, place: int, axes: Axes, length: int) -> Tensor:
    """A tensor of another length along its axes over which loops go."""
    for axis in (axis for own, axis in axes if own == place):
        indices: Any = torch.arange(length) % max(1, tensor.shape[axis])
        tensor = tensor.index_select(axis, indices)
    return tensor


@contextmanager
def told_why(reason: Trace | FoldingError | None) -> Iterator[None]:
    """Add to a refusal of a loop inside the block why the loop cannot be rolled."""
    try:
        yield
    except ExportError as error:
        if not isinstance(reason, FoldingError):
            raise
        got = f"{error.got}; it does not roll up, because of {reason}"
        raise type(error)(error.subject, got=got, expected=error.expected, remedy=error.remedy) from None
