"""The trace of a model that takes its sequence in chunks, where the model's own trace looks along time."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.free_trace import free_trace
from rnnx.tracing.loops.markers import rolled_times
from rnnx.tracing.recurrence_nodes import RecurrenceNode
from rnnx.tracing.sizes.dims import expression_of, input_shapes, name_dims
from rnnx.tracing.sizes.fewer_axes import Free
from rnnx.tracing.stateful_trace import refuse_without_states, stateful_trace
from rnnx.tracing.streams.cached_trace import cached_trace
from rnnx.tracing.streams.streamed_subject import streamed_subject
from rnnx.tracing.subject import Subject
from rnnx.tracing.tracing import Trace

Found = tuple[Subject, Trace, list[RecurrenceNode]]


def streamed_trace(given: Subject, options: ModelOptions, free: Free) -> tuple[Found, ModelOptions]:
    """The trace with all states that `options.stateful` wants, and the options that name what it carries besides.

    `free` is of the inputs of the given subject.

    Raises:
        OptionError: there is no state to lift, and nothing else to carry.
        StreamingError: an operator needs more than a bounded number of frames; names the model's line.
        ExportError: what `stateful_trace` raises.
    """
    cached = cached_trace(given, stateful_trace(given, options, free), options, free)
    found, options = cached.found, cached.options
    if cached.is_proved:
        return found, options
    if options.stateful is True and (found[0].lifted.pairs or not _has_states(found)):
        streamed = _streamed(given, found, options, free)
    else:
        streamed = None
    if options.stateful:
        refuse_without_states(*(streamed[0] if streamed else found)[:2])
    return streamed or (found, options)


def _has_states(found: Found) -> bool:
    """Whether there are layers or loops, which carry something."""
    return bool(found[2] or rolled_times(found[1].program))


def _streamed(given: Subject, found: Found, options: ModelOptions, free: Free) -> tuple[Found, ModelOptions] | None:
    """The trace that carries all it needs from chunk to chunk; None where the lifted states are all of it."""
    names = stream_names(found, options)
    moving = {symbol for symbol, name in names.items() if name in ("B", "T")}
    shapes = input_shapes(found[1].program, list(found[0].tensors))
    if any(expression_of(size).free_symbols - moving for shape in shapes.values() for size in shape):
        found = stateful_trace(given, options, _batch_and_time(given, free, shapes, moving))
        names = stream_names(found, options)
    subject, trace, _ = found
    stream = streamed_subject(subject, trace, names, options.states)
    if stream is None:
        return None
    dims = {} if found[2] else stream.dims
    options = replace(options, stateful=False, states={**options.states, **stream.states}, dims=dims)
    again, recurrences = free_trace(stream.subject, options, stream.free)
    return (stream.subject, replace(again, cells={**trace.cells, **again.cells}), recurrences), options


def stream_names(found: Found, options: ModelOptions) -> dict[Any, str]:
    """The contract's names of a trace's symbols; the one axis besides the batch is time where no layer tells it."""
    subject, trace, recurrences = found
    shapes = input_shapes(trace.program, list(subject.tensors))
    names = dict(name_dims(trace.program, shapes, recurrences, options).names)
    others = [symbol for symbol, name in names.items() if name not in ("B", "T")]
    if "T" not in names.values() and not recurrences and len(others) == 1:
        names[others[0]] = "T"
    return names


def _batch_and_time(given: Subject, free: Free, shapes: Mapping[str, Any], moving: Collection[Any]) -> Free:
    """The axes of the given inputs that are the batch or the time; what is carried has a fixed size in all others."""
    return tuple(
        tuple(
            own and bool(not expression_of(size).free_symbols.isdisjoint(moving))
            for own, size in zip(axes, shapes[name], strict=True)
        )
        for name, axes in zip(given.tensors, free, strict=True)
    )
