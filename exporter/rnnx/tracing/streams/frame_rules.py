"""Operators that treat every frame alike: they run on a chunk as they do on the whole, their operands side by side."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch.fx import Node

from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.streams.operands import name_of, refused
from rnnx.tracing.streams.position_rules import beside
from rnnx.tracing.streams.stream_plan import StreamPlan
from rnnx.tracing.streams.stream_run import Step

MOVES = frozenset(
    (
        "transpose",
        "permute",
        "unsqueeze",
        "squeeze",
        "contiguous",
        "clone",
        "detach",
        "alias",
        "to",
        "_to_copy",
        "dropout",
        "lift_fresh_copy",
        "movedim",
        "t",
        "numpy_T",
        "feature_dropout",
        "alpha_dropout",
        "_assert_tensor_metadata",
    )
)
"""Operators that move values and change none: what a padding is, it is behind them too."""

_DIMS = ("dim", "dims", "dim0", "axis", "axes", "start_dim")
_ALONG = frozenset(
    (
        "softmax",
        "log_softmax",
        "_softmax",
        "_log_softmax",
        "sum",
        "mean",
        "amax",
        "amin",
        "max",
        "min",
        "var",
        "std",
        "var_mean",
        "std_mean",
        "prod",
        "norm",
        "linalg_vector_norm",
        "argmax",
        "argmin",
        "logsumexp",
        "sort",
        "topk",
        "cumprod",
        "cummax",
        "cummin",
        "logcumsumexp",
        "flip",
        "roll",
        "gather",
        "scatter",
        "index_select",
        "index",
        "index_put",
        "all",
        "any",
        "median",
        "kthvalue",
        "glu",
        "chunk",
        "split",
        "split_with_sizes",
        "unbind",
        "stack",
        "narrow",
        "tensor_split",
        "repeat_interleave",
        "renorm",
        "nanmean",
        "aminmax",
        "quantile",
        "searchsorted",
        "take_along_dim",
    )
)
"""Operators that work along the axes that they name, all others alike."""

_ALL_AT_ONCE = frozenset(
    (
        "instance_norm",
        "group_norm",
        "native_group_norm",
        "scaled_dot_product_attention",
        "fft_rfft",
        "fft_fft",
        "stft",
        "istft",
        "grid_sampler",
        "upsample_linear1d",
        "interpolate",
        "bincount",
        "histc",
        "unique",
        "nonzero",
        "masked_select",
        "_fft_r2c",
        "_fft_c2c",
        "lstm",
        "gru",
        "multi_head_attention_forward",
    )
)


def add_frame_rule(plan: StreamPlan, node: Node) -> None:
    """The timeline of an operator that treats every frame alike, and its operands side by side.

    Raises:
        StreamingError: it works along time, or its operands' frames do not go together.
    """
    timed = list(plan.timed(node))
    name = name_of(node)
    if name in _ALL_AT_ONCE:
        raise refused(node, "takes all frames together")
    for own in timed:
        _refuse_along(plan, node, own)
    _refuse_sizes(plan, node)
    if name in MOVES and len(timed) == 1 and timed[0] not in plan.edges:
        lag = plan.times[timed[0]].lag
    else:
        lag = max(0, *(plan.times[own].lag for own in timed if not plan.times[own].is_flat), 0)
    first = next((plan.times[own] for own in timed if not plan.times[own].is_flat), plan.times[timed[0]])
    if any(plan.times[own].rate != first.rate or plan.times[own].rows != first.rows for own in timed):
        raise refused(node, "puts frames of different rates together")
    values = node.meta["val"]
    listed = list(values) if isinstance(values, list | tuple) else [values]
    whole = _whole(plan, node, listed)
    plan.times[node] = replace(
        first,
        axis=plan.time_axis(node, listed[0].shape),
        lag=lag,
        whole=whole,
        fill=first.fill if name in MOVES else 0.0,
    )
    lagging = [own for own in timed if plan.times[own].lag != lag and not plan.times[own].is_flat]
    moved = {own: plan.delayed(own, lag - plan.times[own].lag).step for own in lagging}
    moved |= {own: _beside(plan, node, own, lag) for own in node.all_input_nodes if own in plan.positions}
    if moved:
        plan.steps[node] = lambda run: run.beside({own: step(run) for own, step in moved.items()}).called(node)


def _beside(plan: StreamPlan, node: Node, own: Node, lag: int) -> Step:
    """What was computed of numbers of frames, beside the frames themselves."""
    shape = node.meta["val"].shape
    batch, step = plan.axes.batch_axis(shape), plan.positions[own]
    if plan.times[next(plan.timed(node))].is_joined:
        raise refused(node, "puts numbers of frames beside rows that a reshape has joined with time")
    plan.caches.needs_position = True
    return lambda run: beside(step(run, lag), len(shape), batch)


def add_last_rule(plan: StreamPlan, node: Node) -> None:
    """What is computed of a latest frame belongs to it too."""
    found = {plan.lasts[own] for own in node.all_input_nodes if own in plan.lasts}
    if len({(own.rate, own.lag, own.whole) for own in found}) > 1:
        raise refused(node, "puts the last frames of sequences of different lengths together")
    plan.lasts[node] = next(iter(found))


def _whole(plan: StreamPlan, node: Node, values: Sequence[Any]) -> Any:
    axis = plan.time_axis(node, values[0].shape)
    rows = next(plan.times[own].rows for own in plan.timed(node))
    return (
        sympy.cancel(expression_of(values[0].shape[axis]) / rows) if rows != 1 else expression_of(values[0].shape[axis])
    )


def _refuse_along(plan: StreamPlan, node: Node, own: Node) -> None:
    """Refuse an operator whose named axes include the axis of time of its operand."""
    name, time = name_of(node), plan.times[own]
    rank = len(own.meta["val"].shape)
    if name == "layer_norm" or name == "rms_norm":
        shape: Any = node.args[1]
        if time.axis >= rank - len(shape):
            raise refused(node, "norms over time")
        return
    if name in ("matmul", "bmm", "mm", "einsum", "linear"):
        return  # the shapes of what they give tell
    if name not in _ALONG:
        return
    dims = [own_dim % max(rank, 1) for own_dim in _named_dims(node)]
    if (not dims and name not in ("index", "index_put")) or time.axis in dims:
        raise refused(node, "takes all frames together" if name not in ("flip", "roll") else "turns time around")


def _named_dims(node: Node) -> list[int]:
    schema: Any = getattr(node.target, "_schema", None)
    given = dict(node.kwargs)
    for argument, value in zip(schema.arguments if schema else (), node.args, strict=False):
        given[argument.name] = value
    found: list[int] = []
    for argument in schema.arguments if schema else ():
        if argument.name in _DIMS:
            named: Any = given.get(argument.name, argument.default_value)
            listed = named if isinstance(named, list | tuple) else () if named is None else (named,)
            found += [int(own) for own in listed]
    return found


def _refuse_sizes(plan: StreamPlan, node: Node) -> None:
    """Refuse an operator that reads how many frames there are: a chunk has others than the whole."""
    for own in node.all_input_nodes:
        value = own.meta.get("val")
        if isinstance(value, torch.SymInt | torch.SymFloat) and plan.axes.time in value.node.expr.free_symbols:
            raise refused(node, "depends on the number of frames")
