"""Sums over all frames so far, and differences of frames behind each other."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from rnnx.tracing.streams.operands import refused
from rnnx.tracing.streams.operator_calls import add_settled, arguments_of
from rnnx.tracing.streams.stream_plan import StreamPlan
from rnnx.tracing.streams.stream_run import StreamRun


def add_sum_rule(plan: StreamPlan, node: Node) -> None:
    """A cumulative sum goes on from the one before."""
    own: Any = node.args[0]
    value = plan.settled(own)
    axis, rank = value.time.axis, len(own.meta["val"].shape)
    if int(arguments_of(node)["dim"]) % rank != axis:
        add_settled(plan, node, own)
        return
    value = plan.caches.filled_before(value, 0.0)
    spec, before = plan.caches.totalled(replace(value, node=node))

    def step(run: StreamRun) -> Tensor:
        found = torch.cumsum(value.step(run), axis) + before(run)
        run.following[spec.name] = found.narrow(axis, run.count(value.time.rate) - 1, 1)
        return found

    plan.give(node, replace(value, step=step))


def add_difference_rule(plan: StreamPlan, node: Node) -> None:
    """Differences of frames behind each other."""
    given = arguments_of(node)
    own, count = given["self"], int(given.get("n") or 1)
    axis, rank = plan.times[own].axis, len(own.meta["val"].shape)
    if int(given["dim"]) % rank != axis:
        add_settled(plan, node, own)
        return
    if given.get("prepend") is not None or given.get("append") is not None:
        raise refused(node, "puts other frames in front (prepend, append)")
    found = plan.caches.windows(plan.operand(own), count + 1, 1)
    frames = found.step
    plan.give(node, replace(found, step=lambda run: torch.diff(frames(run), count, axis)))
