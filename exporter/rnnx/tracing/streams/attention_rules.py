"""Attention: where every frame sees a bounded number of others, keys and values of that many frames are carried.

How many that are is found by computing the masks for sequences of several lengths.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.streams.attention_scores import (
    RESHAPES,
    between,
    is_square,
    pair_of,
    softmax_of,
    sums_over_seen,
)
from rnnx.tracing.streams.attention_window import AttentionWindow
from rnnx.tracing.streams.masks import BLOCKED, SIZES, MaskTable, settled_reach, table_of
from rnnx.tracing.streams.operands import name_of, refused
from rnnx.tracing.streams.operator_calls import arguments_of
from rnnx.tracing.streams.stream_plan import Scores, StreamPlan
from rnnx.tracing.streams.stream_run import Step, StreamRun, size_in
from rnnx.tracing.streams.timelines import Timeline


def add_weighted_rule(plan: StreamPlan, node: Node) -> None:
    """The sum of frames by their weights: what is between the frames and it is computed for a call's alone."""
    weights = next(own for own in node.all_input_nodes if own in plan.scores)
    values = [own for own in node.all_input_nodes if own in plan.times]
    if len(values) != 1 or not sums_over_seen(plan, node, weights, values[0]):
        raise refused(node, "relates every frame to every other")
    scores = plan.scores[weights]
    pairs = {product: pair_of(plan, product) for product in scores.products}
    timed = dict.fromkeys((values[0], *(own for pair in pairs.values() for own in pair)))
    softmax = softmax_of(scores)
    window = _window(plan, node, list(timed), lambda frames: _seen(plan, scores, softmax or weights, frames))
    seen = {own: window.seen(plan, own) for own in dict.fromkeys((values[0], *(pair[1] for pair in pairs.values())))}
    for product, (seeing, key) in pairs.items():
        plan.steps[product] = _among(plan, product, window, {seeing: window.seeing(plan, seeing), key: seen[key]})
    for own in between(scores):
        plan.steps[own] = _hidden(plan, own, window) if own is softmax else _among(plan, own, window, {})
    frames, shape = seen[values[0]], weights.meta["val"].shape

    def step(run: StreamRun) -> Any:
        own = run.values[weights]
        if softmax is None:
            own = own.masked_fill(~window.inside(run, shape), 0.0)
        return run.beside({weights: own, values[0]: frames(run)}).called(node)

    _give(plan, node, window, step)


def add_attention_rule(plan: StreamPlan, node: Node) -> None:
    """`scaled_dot_product_attention` with a mask that bounds what each frame sees."""
    given = arguments_of(node)
    query, key, value, mask = (given[name] for name in ("query", "key", "value", "attn_mask"))
    if any(own not in plan.times or plan.times[own].axis != _rank(own) - 2 for own in (query, key, value)):
        raise refused(node, "takes all frames together")
    if mask is not None and not (is_square(plan, mask) and plan.fixed.is_fixed(mask)):
        raise refused(node, "has a mask that depends on the values of inputs, or is the same for all frames")

    def seen_at(frames: int) -> Tensor:
        if mask is None:
            count = plan.fixed.shape(query, frames)[-2]
            every = torch.ones(count, count, dtype=torch.bool)
            return every.tril() if given["is_causal"] else every
        found = plan.fixed.at([mask], frames, {})[mask]
        return _joined(found if found.dtype == torch.bool else found > BLOCKED)

    window = _window(plan, node, list(dict.fromkeys((query, key, value))), seen_at)
    table, shape = _table(plan, node, mask, window), (*query.meta["val"].shape[:-1], 1)
    seeing, seen = window.seeing(plan, query), {own: window.seen(plan, own) for own in dict.fromkeys((key, value))}
    options = {name: given[name] for name in ("scale", "enable_gqa") if name in given}

    def step(run: StreamRun) -> Any:
        inside = window.inside(run, shape)
        own = window.mask(run, table, mask.meta["val"].shape, shape)
        hidden = inside & own if own.dtype == torch.bool else own.masked_fill(~inside, float("-inf"))
        target: Any = node.target
        return target(seeing(run), seen[key](run), seen[value](run), attn_mask=hidden, **options)

    _give(plan, node, window, step)


def _window(plan: StreamPlan, node: Node, timed: Sequence[Node], seen_at: Callable[[int], Tensor]) -> AttentionWindow:
    """The frames in reach; `seen_at` says who sees whom where the inputs have so many frames.

    Raises:
        StreamingError: there is no bound.
    """
    times = [plan.times[own] for own in timed]
    if any((own.rate, own.whole) != (times[0].rate, times[0].whole) or own.is_joined for own in times):
        raise refused(node, "relates frames of different sequences")
    try:
        reach = settled_reach(lambda count: seen_at(int(count / times[0].rate)))
    except ValueError as error:
        raise refused(node, str(error), "attention") from error
    except (RuntimeError, IndexError, TypeError) as error:
        raise refused(
            node, f"has a mask of which {SIZES[0]} frames cannot be computed: {error}", "attention"
        ) from error
    plan.caches.needs_position = True
    if reach.ahead:
        plan.caches.met_end = True
        plan.caches.needs_end = plan.caches.needs_end or plan.caches.has_end
    lag = max(0, *(own.lag for own in times), 0)
    return AttentionWindow(caches=plan.caches, reach=reach, rate=times[0].rate, lag=lag, whole=times[0].whole)


def _seen(plan: StreamPlan, scores: Scores, end: Node, frames: int) -> Tensor:
    """Who sees whom: where scores are not blocked before the softmax `end`, or the weights `end` are not zero."""
    is_softmax = end is softmax_of(scores)
    given: dict[Node, Tensor] = {}
    for product in scores.products:
        full = torch.full(plan.fixed.shape(product, frames), float(not is_softmax), dtype=torch.float64)
        if name_of(product) == "baddbmm":
            bias: Any = product.args[0]
            full = full + plan.fixed.at([bias], frames, {})[bias]
        given[product] = full
    own: Any = end.args[0] if is_softmax else end
    found = plan.fixed.at([own], frames, given)[own]
    return _joined(found > BLOCKED if is_softmax else found != 0)


def _table(plan: StreamPlan, node: Node, mask: Node, window: AttentionWindow) -> MaskTable:
    """The mask as a table; raises StreamingError where it is none."""
    count = next(size for size in SIZES if size >= 2 * window.reach.width)
    try:
        values = plan.fixed.at([mask], int(count / window.rate), {})[mask]
        table = table_of(values, window.reach)
    except ValueError as error:
        raise refused(node, f"has a mask that {error}", "attention") from error
    if table.period > 1 and any(size != 1 for size in values.shape[:-2]):
        raise refused(node, "has a mask of several heads that repeats itself", "attention")
    return table


def _among(plan: StreamPlan, node: Node, window: AttentionWindow, moved: Mapping[Node, Step]) -> Step:
    """An operator on scores of a call, its masks those of the call, its sizes too."""
    shape = node.meta["val"].shape
    masks = [
        own for own in node.all_input_nodes if own not in moved and is_square(plan, own) and own not in plan.scores
    ]
    tables = {own: _table(plan, node, own, window) for own in masks}

    def step(run: StreamRun) -> Any:
        given = {own: window.mask(run, table, own.meta["val"].shape, shape) for own, table in tables.items()}
        own = run.beside({**given, **{one: value(run) for one, value in moved.items()}})
        if name_of(node) not in RESHAPES:
            return own.called(node)
        source: Any = node.args[0]
        sizes = [size_in(expression_of(size), run.sizes) for size in shape[:-2]]
        before = run.values[source]
        wanted = [*sizes, *before.shape[-2:]]
        return before.expand(wanted) if "expand" in name_of(node) else before.reshape(wanted)

    return step


def _hidden(plan: StreamPlan, node: Node, window: AttentionWindow) -> Step:
    """A softmax over the frames that are seen."""
    own: Any = node.args[0]
    shape = own.meta["val"].shape

    def step(run: StreamRun) -> Any:
        scores = run.values[own].masked_fill(~window.inside(run, shape), float("-inf"))
        return run.beside({own: scores}).called(node)

    return step


def _give(plan: StreamPlan, node: Node, window: AttentionWindow, step: Step) -> None:
    plan.steps[node] = step
    plan.times[node] = Timeline(
        axis=plan.time_axis(node), rate=window.rate, whole=window.whole, lag=window.lag + window.reach.ahead
    )


def _joined(seen: Tensor) -> Tensor:
    """Who sees whom by any head."""
    return seen.reshape(-1, *seen.shape[-2:]).any(0)


def _rank(node: Node) -> int:
    return len(node.meta["val"].shape)
