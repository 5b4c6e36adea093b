"""A model that looks along time as a subject of its own: the one that takes chunks and all that it carries."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rnnx.tracing.example_run import run_example
from rnnx.tracing.program_call import ProgramInputs
from rnnx.tracing.signature import named_as, read_signature
from rnnx.tracing.sizes.dims import input_shapes
from rnnx.tracing.states.lifted_states import LiftedStates
from rnnx.tracing.streams.planning import stream_plan
from rnnx.tracing.streams.stream_plan import StreamPlan
from rnnx.tracing.streams.streaming_model import END, POSITION, StreamProgram, streaming_model
from rnnx.tracing.subject import Subject
from rnnx.tracing.tracing import Trace
from rnnx_runtime.contract import StatePair

Axes = tuple[tuple[int, ...], ...]
"""For each input and axis how free it is: 0 for fixed, 1 for free, m for a multiple of m."""


@dataclass(frozen=True, kw_only=True)
class StreamedSubject:
    """The subject that takes chunks, how free its axes are and their names, its program, and its lifted states."""

    subject: Subject
    free: Axes
    dims: dict[str, tuple[str | None, ...]]
    program: StreamProgram

    lifted: tuple[StatePair, ...]

    @property
    def states(self) -> dict[str, str]:
        """The states by name, lifted ones first: the input and the output that the next call takes for it."""
        return {pair.input: pair.output for pair in (*self.lifted, *self.program.pairs)}


def streamed_subject(
    subject: Subject, trace: Trace, names: Mapping[Any, str], states: Mapping[str, str]
) -> StreamedSubject | None:
    """The model as one that takes chunks; None where it does so as it is.

    Args:
        subject, trace: the model with its lifted states, and its trace.
        names: the contract's names of the trace's symbols.
        states: the model's own inputs that are states, and the outputs that the next call takes for them.

    Raises:
        StreamingError: an operator needs more than a bounded number of frames.
    """
    shapes = input_shapes(trace.program, list(subject.tensors))
    plain = dict(zip(trace.program.graph_signature.user_inputs, subject.tensors, strict=True))
    states = {**states, **{pair.input: pair.output for pair in subject.lifted.pairs}}
    plan = stream_plan(
        trace.program,
        subject.module,
        names,
        {*subject.tensors, *trace.outputs},
        {own for own, name in plain.items() if name not in states},
        [place for place, name in enumerate(trace.outputs) if name not in states.values()],
    )
    if plan is None or not _changes(plan):
        return None
    program = _program(plan, subject, trace)
    module = streaming_model(subject.module, program)
    tensors = _example(plan, program, subject.tensors, shapes)
    signature, _ = read_signature(module, tuple(tensors.values()))
    signature = named_as(signature, tuple(tensors))
    run = run_example(module, signature, list(tensors.values()), None)
    found = replace(
        subject,
        module=module,
        signature=signature,
        tensors=tensors,
        outputs=run.outputs,
        ranks=dict(zip(run.outputs, run.ranks, strict=True)),
        run=run,
        lifted=LiftedStates(),
        streamed_from=subject,
        program=program,
    )
    return StreamedSubject(
        subject=found,
        free=_free(plan, tensors, shapes),
        dims=_dims(plan, tensors, shapes),
        program=program,
        lifted=subject.lifted.pairs,
    )


def _changes(plan: StreamPlan) -> bool:
    """Whether the stream is anything else than the model itself on a chunk."""
    lags = [plan.times[own].lag for own in plan.outputs if own in plan.times]
    return bool(plan.caches.specs or plan.multiple > 1 or any(lags))


def _program(plan: StreamPlan, subject: Subject, trace: Trace) -> StreamProgram:
    shapes = input_shapes(trace.program, list(subject.tensors))
    timed = next((name, plan.axes.time_axes(shape)[0]) for name, shape in shapes.items() if plan.axes.time_axes(shape))
    batched = next(
        ((name, axis) for name, shape in shapes.items() if (axis := plan.axes.batch_axis(shape)) is not None), None
    )
    return StreamProgram(
        plan=plan,
        placeholders=ProgramInputs(trace.program),
        cells=dict(trace.cells),
        inputs=tuple(subject.tensors),
        outputs=trace.outputs,
        timed=timed,
        batched=batched,
    )


def _example(
    plan: StreamPlan, program: StreamProgram, tensors: Mapping[str, Tensor], shapes: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The example's frames, repeated up to a number that a call may have, at the beginning of a stream."""
    name, axis = program.timed
    count = max(2, -(-tensors[name].shape[axis] // plan.multiple)) * plan.multiple
    found: dict[str, Tensor] = {}
    for own, tensor in tensors.items():
        axes = plan.axes.time_axes(shapes[own])
        found[own] = tensor.index_select(axes[0], torch.arange(count) % tensor.shape[axes[0]]) if axes else tensor
    batch = 1 if program.batched is None else tensors[program.batched[0]].shape[program.batched[1]]
    carried = {own.name: own.zeros(batch, torch.float32) for own in program.specs}
    rows = torch.arange(batch)
    places: dict[str, Tensor] = {
        POSITION: rows * 2,
        END: rows * 3 * plan.multiple,
    }  # of rows at the start, in their midst, and at their end
    return found | {name: places.get(name, value) for name, value in carried.items()}


def _free(plan: StreamPlan, tensors: Mapping[str, Tensor], shapes: Mapping[str, Any]) -> Axes:
    """Batch and time are free, as the trace has them; all else is as in the example."""
    specs = {own.name: own for own in plan.caches.specs}
    found = []
    for name, tensor in tensors.items():
        if name in shapes:
            times = plan.axes.time_axes(shapes[name])
            batch = plan.axes.batch_axis(shapes[name])
        else:
            times, batch = (), specs[name].batch if name in specs else 0
        found.append(tuple(plan.multiple if axis in times else int(axis == batch) for axis in range(tensor.dim())))
    return tuple(found)


def _dims(
    plan: StreamPlan, tensors: Mapping[str, Tensor], shapes: Mapping[str, Any]
) -> dict[str, tuple[str | None, ...]]:
    """The names of the axes of the plain inputs."""
    found = {}
    for name in tensors:
        if name in shapes:
            times, batch = plan.axes.time_axes(shapes[name]), plan.axes.batch_axis(shapes[name])
            names = {batch: "B"} | dict.fromkeys(times, "T")
            found[name] = tuple(names.get(axis) for axis in range(len(shapes[name])))
    return found
