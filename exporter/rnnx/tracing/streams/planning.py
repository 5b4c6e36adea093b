"""From a traced program to the plan of its stream."""

import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

import sympy  # type: ignore[import-untyped]
from torch import nn
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.errors import StreamingError
from rnnx.tracing.loops.markers import is_begin_node, loop_nodes
from rnnx.tracing.sizes.dims import expression_of
from rnnx.tracing.streams.attention_rules import add_attention_rule, add_weighted_rule
from rnnx.tracing.streams.attention_scores import add_square_rule, is_square
from rnnx.tracing.streams.cache_names import CacheNames
from rnnx.tracing.streams.fills import is_fill
from rnnx.tracing.streams.frame_rules import add_frame_rule, add_last_rule
from rnnx.tracing.streams.layer_rules import add_layer_rule, is_layer
from rnnx.tracing.streams.loop_rules import add_loop_rule
from rnnx.tracing.streams.operands import StreamCaches, name_of, refused
from rnnx.tracing.streams.padding_rules import add_cat_rule, add_pad_rule
from rnnx.tracing.streams.position_rules import add_count_rule, add_position_rule, add_table_rule
from rnnx.tracing.streams.shape_rules import (
    RESHAPES,
    add_expand_rule,
    add_fill_rule,
    add_plain_fill_rule,
    add_reshape_rule,
)
from rnnx.tracing.streams.slice_rules import add_select_rule, add_slice_rule
from rnnx.tracing.streams.stream_plan import StreamPlan
from rnnx.tracing.streams.sum_rules import add_difference_rule, add_sum_rule
from rnnx.tracing.streams.timelines import StreamAxes, Timeline
from rnnx.tracing.streams.window_rules import add_transform_rule, add_transposed_rule, add_window_rule

RULES: dict[str, Callable[[StreamPlan, Node], None]] = {
    **dict.fromkeys(
        ("pad", "constant_pad_nd", "replication_pad1d", "reflection_pad1d", "reflection_pad2d", "replication_pad2d"),
        add_pad_rule,
    ),
    **dict.fromkeys(
        ("conv1d", "conv2d", "conv3d", "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "unfold"),
        add_window_rule,
    ),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), add_transposed_rule),
    "cumsum": add_sum_rule,
    "diff": add_difference_rule,
    "stft": add_transform_rule,
}
"""Operators that may look along time, whatever their arguments say."""


def stream_plan(
    program: ExportedProgram,
    module: nn.Module,
    names: Mapping[Any, str],
    taken: Collection[str],
    plain: Collection[str],
    results: Collection[int],
) -> StreamPlan | None:
    """How a program streams; None of one that has no axis of time.

    Args:
        program: the trace, its states inputs and outputs.
        module: the model.
        names: the contract's names of the trace's symbols.
        taken: names of inputs and outputs.
        plain: the names of the program's inputs that are no states.
        results: the places of the program's outputs that are no states.

    Raises:
        StreamingError: an operator needs more than a bounded number of frames; names the model's line.
    """
    times = [symbol for symbol, name in names.items() if name == "T"]
    batches = [symbol for symbol, name in names.items() if name == "B"]
    if len(times) != 1 or len(batches) > 1:
        return None
    axes = StreamAxes(batch=batches[0] if batches else sympy.Symbol("no_batch"), time=times[0])
    found = _planned(program, module, axes, taken, plain, results, has_end=False)
    if found.caches.met_end and (found.multiple > 1 or _goes_past_end(found)):
        found = _planned(program, module, axes, taken, plain, results, has_end=True)
    late = [found.times.get(own) or found.lasts.get(own) for own in found.outputs]
    if any(own is not None and own.lag > 0 for own in late):
        found.caches.needs_position = True  # whoever goes on from a state must know what is the whole's
    return found


def _goes_past_end(plan: StreamPlan) -> bool:
    """Whether the last frames of a result come after the last ones of the inputs."""
    ends = [plan.times.get(own) or plan.lasts.get(own) for own in plan.outputs]
    count = LONG * plan.multiple
    return any(own.lag + _size(plan, own, count) > count * own.rate for own in ends if own is not None)


LONG = 1_000
"""A number of calls that is longer than any window."""


def _size(plan: StreamPlan, time: Timeline, count: int) -> int:
    return int(time.whole.subs(plan.axes.time, count))


def _planned(
    program: ExportedProgram,
    module: nn.Module,
    axes: StreamAxes,
    taken: Collection[str],
    plain: Collection[str],
    results: Collection[int],
    *,
    has_end: bool,
) -> StreamPlan:
    caches = StreamCaches(axes=axes, names=CacheNames({*taken}), has_end=has_end)
    given: Any = program.graph.output_node().args[0]
    plain_results = frozenset(given[place] for place in results)
    plan = StreamPlan(program=program, module=module, axes=axes, caches=caches, plain_results=plain_results)
    loops = {own.node: own for own in loop_nodes(program.graph)}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            _add_input(plan, node, plain)
        elif node.op == "call_function":
            if is_begin_node(node):
                continue  # its end says where its values come from
            caches.reader = node
            try:
                if node in loops:
                    _refuse_broken(plan, loops[node].begin)
                    add_loop_rule(plan, loops[node])
                else:
                    _add(plan, node)
            except StreamingError as error:
                plan.broken[node] = error
    for node in plan.outputs:
        if node in plan.broken:
            raise plan.broken[node]
        if node in plan.scores:
            raise refused(node, "is a result that relates every frame to every other")
    for node in plan.outputs:
        if node in plan.times and (plan.times[node].lag < 0 or plan.times[node].is_joined):
            _settle_output(plan, node)
    return plan


def _settle_output(plan: StreamPlan, node: Node) -> None:
    if plan.times[node].is_joined:
        raise refused(node, "is a result whose time is joined with other axes")
    plan.results[node] = plan.settled(node)


def _add_input(plan: StreamPlan, node: Node, plain: Collection[str]) -> None:
    value = node.meta.get("val")
    shape = getattr(value, "shape", ())
    if not plan.axes.time_axes(shape):
        return
    axis = plan.time_axis(node)
    if node.name not in plain:
        raise refused(node, "is a state with an axis of time")
    if expression_of(shape[axis]) != plan.axes.time:
        raise refused(node, f"is an input of {shape[axis]} frames, others of them than the other inputs")
    plan.times[node] = Timeline(axis=axis, rate=plan.rate_of(node, plan.axes.time), whole=plan.axes.time)


def _add(plan: StreamPlan, node: Node) -> None:
    timed, name = list(plan.timed(node)), name_of(node)
    is_attention = name == "scaled_dot_product_attention" or any(own in plan.scores for own in node.all_input_nodes)
    has_masks = is_attention or is_square(plan, node)
    masks = [own for own in node.all_input_nodes if is_square(plan, own)] if has_masks else []
    if not is_fill(node):
        _refuse_broken(plan, node, masks)
    if is_square(plan, node):
        add_square_rule(plan, node)
    elif is_attention:
        (add_weighted_rule if name != "scaled_dot_product_attention" else add_attention_rule)(plan, node)
    elif any(own in plan.positions for own in node.all_input_nodes) and not timed:
        add_position_rule(plan, node)
    elif node.target is operator.getitem:
        _add_part(plan, node)
    elif is_layer(node):
        _add_layer(plan, node)
    elif not timed or is_fill(node):
        _add_untimed(plan, node)
    elif any(own in plan.lasts for own in node.all_input_nodes):
        raise refused(node, "puts the last frame beside all frames")
    elif name in ("sym_size", "_assert_tensor_metadata", "_assert_scalar"):
        return
    elif name in RESHAPES:
        add_reshape_rule(plan, node)
    elif name in ("expand", "expand_as", "broadcast_to"):
        add_expand_rule(plan, node)
    elif name in RULES:
        RULES[name](plan, node)
    elif name in ("slice", "narrow") and _dim(node) == plan.times[timed[0]].axis:
        add_slice_rule(plan, node)
    elif name == "select" and _dim(node) == plan.times[timed[0]].axis:
        add_select_rule(plan, node)
    elif name in ("cat", "concat") and _dim(node, 1) == plan.times[timed[0]].axis:
        add_cat_rule(plan, node)
    else:
        add_frame_rule(plan, node)


def _refuse_broken(plan: StreamPlan, node: Node, allowed: Collection[Node] = ()) -> None:
    """Refuse a node that reads what no stream can give, but for some."""
    broken = next((own for own in node.all_input_nodes if own in plan.broken and own not in allowed), None)
    if broken is not None:
        raise plan.broken[broken]


def _add_layer(plan: StreamPlan, node: Node) -> None:
    tensors: Any = node.args[0]
    if tensors[0] in plan.times and any(plan.axes.time_axes(own.shape) for own in node.meta["val"]):
        add_layer_rule(plan, node)


def _add_untimed(plan: StreamPlan, node: Node) -> None:
    value: Any = node.meta.get("val")
    shape = getattr(value, "shape", None)
    if is_fill(node) and shape is not None:
        if plan.axes.time_axes(shape):
            add_fill_rule(plan, node)
        elif any(own in plan.broken for own in node.all_input_nodes):
            add_plain_fill_rule(plan, node)
        return
    if any(own in plan.lasts for own in node.all_input_nodes):
        add_last_rule(plan, node)
    elif shape is not None and plan.axes.time_axes(shape):
        if name_of(node) in ("expand", "broadcast_to"):
            add_expand_rule(plan, node)
        elif name_of(node) == "arange":
            add_count_rule(plan, node)
        elif not add_table_rule(plan, node):
            raise refused(node, "depends on the number of frames")


def _add_part(plan: StreamPlan, node: Node) -> None:
    source: Any = node.args[0]
    if source in plan.lasts:
        plan.lasts[node] = plan.lasts[source]
    if source not in plan.times:
        return
    shape = node.meta["val"].shape
    if plan.axes.time_axes(shape):
        plan.times[node] = plan.times[source].at(plan.time_axis(node))
    else:
        plan.lasts[node] = plan.times[source]  # the last state of a layer


def _dim(node: Node, place: int = 1) -> int:
    value: Any = node.kwargs.get("dim", node.args[place] if len(node.args) > place else 0)
    operand: Any = node.args[0]
    first = operand[0] if isinstance(operand, list | tuple) else operand
    return int(value) % len(first.meta["val"].shape)
