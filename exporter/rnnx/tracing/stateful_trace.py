"""A model's trace with every state of its own as an input and an output: of layers, of loops, and those it keeps."""

from collections.abc import Collection
from dataclasses import replace

from rnnx.errors import ExportError
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.free_trace import free_trace
from rnnx.tracing.loops.lifting import with_carried_states
from rnnx.tracing.loops.markers import layers_of_loops, rolled_times
from rnnx.tracing.recurrence_nodes import RecurrenceNode
from rnnx.tracing.sizes.fewer_axes import Free
from rnnx.tracing.states.lifted_states import lifted_states, nothing_to_lift, repeated_layers
from rnnx.tracing.subject import Subject
from rnnx.tracing.tracing import Trace

Found = tuple[Subject, Trace, list[RecurrenceNode]]
"""The model with all lifted states, its trace, and the calls of layers outside of loops."""


def stateful_trace(subject: Subject, options: ModelOptions, free: Free) -> Found:
    """The trace, with the states lifted where `options.stateful` wants them; `free` is of the subject's inputs.

    Raises:
        ExportError, FrozenDimError: what `free_trace` raises.
    """
    if not options.stateful:
        return subject, *free_trace(subject, options, free)
    own, trace, recurrences = _with_states_of_layers(subject, options, free)
    trace, carried = with_carried_states(trace, own.module, own.tensors)
    return own.with_lifted(replace(own.lifted, carried=carried)), trace, recurrences


def refuse_without_states(subject: Subject, trace: Trace) -> None:
    """Refuse a model of which nothing could be lifted; raises OptionError."""
    if not subject.lifted.pairs and subject.streamed_from is None:
        raise nothing_to_lift(subject.run, loops=bool(rolled_times(trace.program)))


def _with_states_of_layers(subject: Subject, options: ModelOptions, free: Free) -> Found:
    """The trace in which a layer that a loop calls at each step has no state of its own: the loop carries it."""
    repeated = repeated_layers(subject.run)
    if not repeated:
        return _without(subject, options, free, ())
    try:
        found = _without(subject, options, free, repeated)
    except ExportError:
        return _without(subject, options, free, ())
    inside = layers_of_loops(found[1].program)
    return found if repeated <= inside else _without(subject, options, free, inside)


def _without(subject: Subject, options: ModelOptions, free: Free, layers: Collection[str]) -> Found:
    taken = {*subject.signature.names, *subject.outputs}
    own = subject.with_lifted(lifted_states(subject.module, subject.run, taken, layers))
    rows = dict(zip(subject.tensors, free, strict=True))
    every = {name: rows.get(name, (True,) * tensor.dim()) for name, tensor in own.tensors.items()}
    return own, *free_trace(own, options, tuple(every.values()))
