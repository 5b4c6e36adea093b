"""The trace of a model that takes and gives back caches of its own: of fixed sizes, and states once chunks prove it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import Tensor

from rnnx.errors import ExportError
from rnnx.modules.model_options import ModelOptions
from rnnx.modules.source_lines import line_of_node
from rnnx.proofs.streaming_proof import streaming_of
from rnnx.tracing.eager import EagerModel
from rnnx.tracing.loops.markers import loop_nodes
from rnnx.tracing.recurrence_nodes import RecurrenceNode
from rnnx.tracing.sizes.dims import DimNames, expression_of, input_shapes, name_dims
from rnnx.tracing.sizes.fewer_axes import Free
from rnnx.tracing.stateful_trace import stateful_trace
from rnnx.tracing.states.blended_states import blended_pairs
from rnnx.tracing.states.own_caches import OwnCache, own_caches
from rnnx.tracing.subject import Subject
from rnnx.tracing.traced_contract import traced_contract
from rnnx.tracing.tracing import Trace
from rnnx.tracing.watched_layers import running

Found = tuple[Subject, Trace, list[RecurrenceNode]]


@dataclass(frozen=True, kw_only=True)
class CachedTrace:
    """The trace, the options that name the caches as states, and whether chunks of it give what the whole gives."""

    found: Found
    options: ModelOptions
    is_proved: bool = False


def cached_trace(given: Subject, found: Found, options: ModelOptions, free: Free) -> CachedTrace:
    """The trace with the model's own caches as its states, their axes fixed but for the batch, and its time named.

    Chunks are of a multiple of the model's stride. A cache that chunks do not prove is left an input, with a note.

    Args:
        given: the model as it was given.
        found: what `stateful_trace` made of it.
        options: `states` says of some caches which result follows them.
        free: the axes of the given inputs.

    Raises:
        OptionError: `options.states` names what is no state.
        ExportError: what `stateful_trace` raises, of a model whose states are named.
    """
    caches = [] if options.static else list(_caches(found, options))
    if not caches:
        return CachedTrace(found=found, options=options)
    is_named = _pairs(caches).items() <= options.states.items()
    try:
        own, named = _retraced(given, found, caches, options, free)
        reason = _unproved(own, named)
    except ExportError as error:
        if is_named:
            raise
        own, named, reason = found, options, f"the model cannot be traced with it: {error}"
    if reason and not is_named:
        notes = (f"no state: {_shown(cache)}: {reason}" for cache in caches)
        return CachedTrace(found=_noted(found, notes), options=options)
    notes = (f"state: {_shown(cache)}" for cache in caches if cache.pair.input not in options.states)
    return CachedTrace(found=_noted(own, notes), options=named, is_proved=not reason)


def _caches(found: Found, options: ModelOptions) -> Iterator[OwnCache]:
    """The caches that are no other states, and that no option pairs with another result."""
    subject, trace, _ = found
    lifted = {name for pair in subject.lifted.pairs for name in (pair.input, pair.output)}
    for cache in own_caches(trace.program, subject.tensors, trace.outputs):
        name, output = cache.pair.input, cache.pair.output
        is_open = name not in options.states and output not in options.states.values()
        if not {name, output} & lifted and (is_open or options.states.get(name) == output):
            yield cache


def _pairs(caches: Sequence[OwnCache]) -> dict[str, str]:
    return {cache.pair.input: cache.pair.output for cache in caches}


def _retraced(
    given: Subject, found: Found, caches: Sequence[OwnCache], options: ModelOptions, free: Free
) -> tuple[Found, ModelOptions]:
    """The same with caches of fixed sizes, and chunks of a multiple of the stride."""
    subject, trace, recurrences = found
    shapes = input_shapes(trace.program, list(subject.tensors))
    names = name_dims(trace.program, shapes, recurrences, options)
    kept = {symbol for symbol, name in names.names.items() if name == "B"}
    fixed = {
        symbol for cache in caches for size in shapes[cache.pair.input] for symbol in expression_of(size).free_symbols
    } - kept
    times = {symbol for cache in caches for symbol in cache.symbols} - fixed - kept
    time = next(iter(times)) if len(times) == 1 else None
    multiple = 1 if time is None else _multiple(trace, time)
    only = _free(given, free, shapes, fixed, time, multiple)
    longer = replace(given, tensors=_longer(given.tensors, shapes, time, multiple))
    if only != free or longer.tensors != given.tensors:
        found = stateful_trace(longer, options, only)
    subject, trace, recurrences = found
    options = replace(options, states={**_blended(found, options), **options.states, **_pairs(caches)})
    if time is not None and not recurrences:
        options = replace(options, dims={**_time_dims(shapes, time, caches), **options.dims})
    return (subject, trace, recurrences), options


def _blended(found: Found, options: ModelOptions) -> dict[str, str]:
    """The states of cells written by hand, which are not looked for beside states that have a name."""
    subject, trace, recurrences = found
    if options.states or recurrences or list(loop_nodes(trace.program.graph)):
        return {}
    pairs = blended_pairs(trace.program, list(subject.tensors), trace.outputs)
    return {pair.input: pair.output for pair in pairs}


def _multiple(trace: Trace, time: Any) -> int:
    """Of how many frames a chunk has a multiple, so that every value of it has a whole number of frames."""
    found = 1
    for node in trace.program.graph.nodes:
        for size in getattr(node.meta.get("val"), "shape", ()):
            if time in expression_of(size).free_symbols:
                found = lcm(found, _rate(expression_of(size), time).denominator)
    return found


def _rate(size: Any, time: Any) -> Fraction:
    """How many frames a value has for each of the inputs, in the long run."""
    others = {symbol: sympy.Integer(_LONG) for symbol in size.free_symbols - {time}}
    first, second = (int(size.subs({**others, time: count})) for count in (_LONG, 2 * _LONG))
    return Fraction(second - first, _LONG)


_LONG = 55_440
"""A number of frames that every small stride divides."""


def _free(given: Subject, free: Free, shapes: Mapping[str, Any], fixed: set[Any], time: Any, multiple: int) -> Free:
    """The axes of the given inputs without those that a cache fixes, those of time in multiples."""
    found = []
    for name, axes in zip(given.tensors, free, strict=True):
        sizes = [expression_of(size) for size in shapes[name]]
        found.append(
            tuple(
                0 if size.free_symbols & fixed else multiple if own and size == time and multiple > 1 else own
                for own, size in zip(axes, sizes, strict=True)
            )
        )
    return tuple(found)


def _longer(tensors: Mapping[str, Tensor], shapes: Mapping[str, Any], time: Any, multiple: int) -> dict[str, Tensor]:
    """The example's frames, repeated up to a multiple."""
    found = dict(tensors)
    for name, tensor in tensors.items():
        for axis, size in enumerate(shapes[name]) if multiple > 1 else ():
            if expression_of(size) == time:
                count = max(2, -(-tensor.shape[axis] // multiple)) * multiple
                found[name] = tensor.index_select(axis, torch.arange(count) % tensor.shape[axis])
    return found


def _time_dims(shapes: Mapping[str, Any], time: Any, caches: Sequence[OwnCache]) -> dict[str, tuple[str | None, ...]]:
    """The name of time for the axes that no layer tells."""
    found = {}
    for name, shape in shapes.items():
        if name not in _pairs(caches) and any(expression_of(size) == time for size in shape):
            found[name] = tuple("T" if expression_of(size) == time else None for size in shape)
    return found


def _unproved(found: Found, options: ModelOptions) -> str:
    """What speaks against the states: chunks that give other values than the whole; empty where they hold."""
    subject, trace, recurrences = found
    contract, names = traced_contract(subject, trace, recurrences, options, 0)
    eager = EagerModel(subject.module, subject.signature, output_names=subject.outputs, lifted=subject.lifted)
    streaming = streaming_of(running(eager), contract, subject.tensors, _times(recurrences, names))
    return "" if streaming.kind == "exact" else streaming.reason


def _times(recurrences: Sequence[RecurrenceNode], names: DimNames) -> dict[str, Any]:
    return {own.layer: names.dims([own.time])[0] for own in recurrences if own.time is not None}


def _shown(cache: OwnCache) -> str:
    return f"{cache.pair.input} → {cache.pair.output} ({line_of_node(cache.join.meta)})"


def _noted(found: Found, notes: Iterable[str]) -> Found:
    subject, trace, recurrences = found
    return subject, replace(trace, notes=(*trace.notes, *notes)), recurrences
