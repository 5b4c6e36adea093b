"""Frames of the sequence itself in front of it and behind it: reflected ones, and copies of the first and the last."""

import itertools
from dataclasses import replace
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import Tensor
from torch.fx import Node

from rnnx.tracing.streams.operands import Operand, refused
from rnnx.tracing.streams.stream_plan import StreamPlan
from rnnx.tracing.streams.stream_run import StreamRun, tensor_size_in


def edge_padded(plan: StreamPlan, node: Node, own: Node, before: int, after: int, mode: str) -> Operand:
    """A value padded along time by the modes of `F.pad`, reflect and replicate.

    Reflected frames come later than the sequence begins, so all are late by as many. A sequence that is no longer than
    what is reflected is refused at its end, as PyTorch refuses it.

    Raises:
        StreamingError: the mode takes frames of the other end.
    """
    value = plan.operand(own)
    if mode not in ("reflect", "replicate"):
        raise refused(node, f"pads time by the mode {mode!r}")
    if min(before, after) < 0:
        raise refused(node, f"cuts time by a padding of the mode {mode!r}")
    if mode == "replicate" and not after and value.time.lag == 0:
        time = replace(value.time, lag=-before, whole=value.time.whole + before)
        return replace(value, time=time, edge=plan.caches.first_frame(value))
    value = plan.settled(own)
    turns = 2 if mode == "reflect" else 1
    carried, lag = turns * (before + after), value.time.lag + (turns - 1) * before
    caches = plan.caches
    frames_of = caches.joined(value, carried)
    caches.needs_position = caches.met_end = True
    caches.needs_end = caches.needs_end or caches.has_end
    if mode == "reflect":
        caches.shortest = max(caches.shortest, _shortest(value.time.whole, caches.axes.time, max(before, after) + 1))
    time, axis = value.time, value.time.axis

    def last_of(run: StreamRun) -> Tensor:
        return (tensor_size_in(time.whole, caches.axes.time, run.length()) - 1).unsqueeze(1)

    def step(run: StreamRun) -> Tensor:
        frames = frames_of(run)
        numbers = run.indices(time.rate, run.count(time.rate)) - (lag + before)
        places = numbers.abs() if mode == "reflect" else numbers.clamp(min=0)
        if caches.has_end:
            last = last_of(run)
            places = torch.where(numbers > last, 2 * last - numbers if mode == "reflect" else last, places)
        places = places + (time.lag + carried) - run.indices(time.rate, 1)
        places = torch.minimum(places.clamp(min=0), torch.arange(frames.shape[axis])[-1:])
        shape = [-1 if at == axis else frames.shape[at] for at in range(frames.dim())]
        return torch.gather(frames, axis, caches.beside(places, value).expand(shape))

    return replace(
        value, time=replace(time, lag=lag, whole=time.whole + before + after, fill=0.0), step=step, edge=None
    )


def _shortest(whole: Any, symbol: Any, frames: int) -> int:
    """How many frames of the inputs make so many of a value."""
    return next(count for count in itertools.count(1) if int(whole.xreplace({symbol: sympy.Integer(count)})) >= frames)
