"""Loops over time that a model writes in Python: they go on from their states, and stand still where no frame is."""

from typing import Any

import torch
from torch import Tensor

from rnnx.tracing.loops.markers import LoopNode, Sequenced, begin, end, step_nodes
from rnnx.tracing.recurrence_nodes import attribute_of
from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.streams.operands import refused
from rnnx.tracing.streams.stream_plan import StreamPlan
from rnnx.tracing.streams.stream_run import StreamRun
from rnnx.tracing.streams.timelines import Timeline

_WHAT = "a loop over time"


def add_loop_rule(plan: StreamPlan, loop: LoopNode) -> None:
    """A loop of a call's frames, whose steps read their sequences frame by frame."""
    sequences = loop.sequences[:-1]
    numbers = [user for user in loop.begin.users if user.args[1] == len(loop.states) + len(sequences)]
    if any(user.users for user in numbers):
        raise refused(loop.node, "reads the number of its step", _WHAT)
    if any(loop.backwards[:-1]):
        raise refused(loop.node, "goes backwards in time", _WHAT)
    if any(own in plan.lasts or own in plan.times for own in loop.states):
        raise refused(loop.node, "starts from frames of the sequence", _WHAT)
    if not sequences or any(own not in plan.times for own in sequences):
        raise refused(loop.node, "reads no frames", _WHAT)
    times = [plan.times[own] for own in sequences]
    if any(own.axis != axis or own.rate != times[0].rate for own, axis in zip(times, loop.axes, strict=False)):
        raise refused(loop.node, "reads frames of different rates", _WHAT)
    lag = max(0, *(own.lag for own in times), 0)
    values = [plan.delayed(own, lag - plan.times[own].lag) for own in sequences]
    steps = step_nodes(plan.program.graph)
    plan.inner |= {loop.begin, *loop.begin.users, *steps[loop.node]}
    shape = loop.node.meta["val"]
    whole = expression_of(next(own.shape[0] for own in shape))
    time = Timeline(axis=0, rate=times[0].rate, lag=lag, whole=whole)
    plan.times[loop.node] = time
    ends = plan.shows_last(loop.node, len(loop.given_back) - len(loop.states))
    plan.caches.met_end = plan.caches.met_end or ends
    ends = ends and plan.caches.has_end
    is_held = lag > 0 or ends
    if is_held:
        plan.caches.needs_position = True
        plan.caches.needs_end = plan.caches.needs_end or ends

    def run_loop(run: StreamRun) -> list[Tensor]:
        count = run.count(time.rate)
        frames = [value.step(run) for value in values]
        states = [run.own(own) for own in loop.states]
        mask = _inside(plan, run, time, ends=ends) if is_held else None
        if torch.compiler.is_exporting():
            return _marked(plan, loop, run, states, frames, mask, count, steps[loop.node])
        return _stepped(plan, loop, run, states, frames, mask, count, steps[loop.node])

    plan.steps[loop.node] = run_loop


def _inside(plan: StreamPlan, run: StreamRun, time: Timeline, *, ends: bool) -> Tensor:
    """Which frames `(B, T)` are the sequence's."""
    indices = run.indices(time.rate, run.count(time.rate))
    inside = indices >= time.lag
    if ends:
        inside = inside & (indices < plan.caches.ends(run, time).unsqueeze(1))
    return inside


def _marked(
    plan: StreamPlan,
    loop: LoopNode,
    run: StreamRun,
    states: list[Tensor],
    frames: list[Tensor],
    mask: Tensor | None,
    count: Any,
    step: list[Any],
) -> list[Tensor]:
    """The same loop in another trace."""
    number = int(attribute_of(loop.node, "loop"))
    sequences = [
        Sequenced(tensor=own, axis=axis, backwards=False) for own, axis in zip(frames, loop.axes, strict=False)
    ]
    masks = [Sequenced(tensor=mask, axis=1, backwards=False)] if mask is not None else []
    counts = Sequenced(tensor=torch.arange(count), axis=0, backwards=False)
    given = begin(number, states, [*sequences, *masks, counts])
    own = given[: len(states) + len(sequences)]
    run.values[loop.begin] = [*own, given[-1]]
    for node in step:
        run.compute(node)
    results, after = _given_back(loop, run)
    inside = given[len(own)] if masks else None
    return end(number, _held(plan, loop, given[: len(states)], after, inside), results, count)


def _stepped(
    plan: StreamPlan,
    loop: LoopNode,
    run: StreamRun,
    states: list[Tensor],
    frames: list[Tensor],
    mask: Tensor | None,
    count: int,
    step: list[Any],
) -> list[Tensor]:
    collected = list[list[Tensor]]()
    for number in range(count):
        slices = [own.select(axis, number) for own, axis in zip(frames, loop.axes, strict=False)]
        run.values[loop.begin] = [*states, *slices, torch.tensor(number)]
        for node in step:
            run.compute(node)
        results, after = _given_back(loop, run)
        collected.append(results)
        states = _held(plan, loop, states, after, None if mask is None else mask[:, number])
    return [*(torch.stack(own) for own in zip(*collected, strict=True)), *states]


def _given_back(loop: LoopNode, run: StreamRun) -> tuple[list[Tensor], list[Tensor]]:
    values = [run.values[own] for own in loop.given_back]
    split = len(values) - len(loop.states)
    return values[:split], values[split:]


def _held(
    plan: StreamPlan, loop: LoopNode, before: list[Tensor], after: list[Tensor], inside: Tensor | None
) -> list[Tensor]:
    """The next states, those of rows whose frame is none as they were."""
    if inside is None:
        return after
    found = []
    for state, old, new in zip(loop.states, before, after, strict=True):
        batch = plan.axes.batch_axis(state.meta["val"].shape)
        if batch is None:
            raise refused(loop.node, "has a state without an axis of batch, and frames that lag", _WHAT)
        mask = inside
        for axis in range(new.dim()):
            mask = mask if axis == batch else mask.unsqueeze(axis)
        found.append(torch.where(mask, new, old))
    return found
