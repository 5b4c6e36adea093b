"""Calls of recurrent layers on one frame in a loop's step, and which of them are the layer's call on the sequence."""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.utils import _pytree as pytree

from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.rolled import Fused, Inner, Loop, Rolled, Span, State, Template, mapped
from rnnx.tracing.loops.splitting import LayerGroup, places_needed, reads_only
from rnnx.tracing.loops.values import Slice
from rnnx.tracing.opaque_layers import DOMAIN as LAYERS
from rnnx.tracing.recurrence_nodes import attribute_in


@dataclass(frozen=True, kw_only=True)
class LayerCall:
    """A recurrent layer's call on one frame: its name, how many states it has, and which axis of a frame is time.

    `time` is None for a cell; `each_step` are the parts of a result that the call on the sequence gives of each step,
    and `rows` is how many layers there are.
    """

    layer: str
    states: int
    time: int | None
    each_step: frozenset[int]
    rows: int
    batched: bool


def _call(template: Template, module: nn.Module) -> LayerCall | None:
    """The call of a layer that is the same on one frame after another as on the sequence."""
    instruction = template.instruction
    _, attributes = pytree.tree_unflatten(list(instruction.leaves), instruction.structure)
    if attributes.get("domain") != LAYERS or "loop" in attributes["attr_keys"]:
        return None
    name = attribute_in(attributes, "layer")
    layer: Any = module.get_submodule(name)
    states = 2 if isinstance(layer, nn.LSTM | nn.LSTMCell) else 1
    batched = bool(attribute_in(attributes, "batched"))
    if isinstance(layer, nn.RNNCellBase):
        return LayerCall(layer=name, states=states, time=None, each_step=frozenset((0,)), rows=1, batched=batched)
    time = 1 if attribute_in(attributes, "batch_first") else 0
    if layer.bidirectional or instruction.shape_of(0)[time] != 1 or template.leaves[3] is not None:
        return None
    each_step = frozenset((0, 1) if layer.num_layers == 1 else (0,))
    rows: int = layer.num_layers
    return LayerCall(layer=name, states=states, time=time, each_step=each_step, rows=rows, batched=batched)


def layer_group(rolled: Rolled, number: int, module: nn.Module) -> LayerGroup | None:
    """The first call in a loop's step whose states go from its own end straight to its own start."""
    loop = rolled.loops[number]
    assert isinstance(loop, Loop)
    for place, template in enumerate(loop.step):
        call = _call(template, module)
        if call is not None and _is_alone(rolled, number, place, call):
            return _group(loop, place, call)
    return None


def _group(loop: Loop, place: int, call: LayerCall) -> LayerGroup:
    template = loop.step[place]
    given = (loop.states[own.number] for own in template.leaves[1 : 1 + call.states])
    own = Fused(
        layer=call.layer,
        x=(template.leaves[0],),
        firsts=tuple(state.first for state in given),
        shapes=template.instruction.shapes,
        time=call.time,
        batched=call.batched,
        meta=template.instruction.meta,
    )
    parts = range(len(template.instruction.shapes))
    return LayerGroup(places=(place,), own=own, results={(place, part): part for part in parts})


def _is_alone(rolled: Rolled, number: int, place: int, call: LayerCall) -> bool:
    loop = rolled.loops[number]
    assert isinstance(loop, Loop)
    leaves = loop.step[place].leaves
    first_part = len(loop.step[place].instruction.shapes) - call.states
    last = {(place, first_part + kind) for kind in range(call.states)}
    for kind, state in enumerate(leaves[1 : 1 + call.states]):
        own = Inner(place=place, part=first_part + kind)
        if not isinstance(state, State) or loop.states[state.number].after != own:
            return False
    if place in places_needed(loop, leaves[0]):
        return False
    return reads_only(rolled, number, (place,), {(place, part) for part in call.each_step}, last)


def with_top_outputs(rolled: Rolled, number: int, module: nn.Module) -> Rolled:
    """The program in which `hn[-1]` of a layer's frame is read as what it is: the frame's only output."""
    loop = rolled.loops[number]
    if isinstance(loop, Fused):
        return rolled
    calls = {place: found for place, own in enumerate(loop.step) if (found := _call(own, module)) is not None}
    calls = {place: own for place, own in calls.items() if own.time is not None}

    def is_top(leaf: Slice, call: LayerCall) -> bool:
        return leaf.axis == 0 and not leaf.keeps and leaf.start in (call.rows - 1, Affine(base=call.rows - 1))

    def output(leaf: Any, call: LayerCall) -> Any:
        number = Affine(base=0) if isinstance(leaf.start, Affine) else 0
        return replace(leaf, axis=call.time, start=number)

    def inside(leaf: Any) -> Any:
        source: Any = leaf.source if isinstance(leaf, Slice) else None
        call = calls.get(source.place) if isinstance(source, Inner) and source.part == 1 else None
        if call is None or not is_top(leaf, call):
            return leaf
        return output(replace(leaf, source=replace(source, part=0)), call)

    def outside(leaf: Any) -> Any:
        if isinstance(leaf, Span) and leaf.loop == number and leaf.part == 1 and leaf.cuts:
            call = calls.get(leaf.place)
            if call is not None and is_top(leaf.cuts[0], call):
                return replace(leaf, part=0, cuts=(output(leaf.cuts[0], call), *leaf.cuts[1:]))
        return leaf

    def rewritten(part: Any) -> Any:
        if isinstance(part, Template):
            return replace(part, leaves=mapped(part.leaves, outside))
        if part is not loop:
            return part
        return replace(loop, step=tuple(replace(own, leaves=mapped(own.leaves, inside)) for own in loop.step))

    if not calls:
        return rolled
    return replace(rolled, parts=tuple(map(rewritten, rolled.parts)), results=mapped(rolled.results, outside))
