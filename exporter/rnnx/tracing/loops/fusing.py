"""Recurrent layers that a loop calls at each step as one call for all steps, where nothing else feeds them back."""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.utils import _pytree as pytree

from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.all_steps import has_form_for_all_steps
from rnnx.tracing.loops.rolled import Element, Fused, Inner, Loop, Rolled, Span, State, Template, leaves_in, mapped
from rnnx.tracing.loops.splitting import Places, places_needed, split, states_of, states_read
from rnnx.tracing.loops.values import Slice
from rnnx.tracing.opaque_layers import DOMAIN as LAYERS
from rnnx.tracing.recurrence_nodes import attribute_in

_PRODUCTS = frozenset(("linear", "matmul", "addmm", "mm", "embedding"))
"""What is worth a loop of its own: one product for all steps is faster than one for each."""


def fused(rolled: Rolled, module: nn.Module) -> Rolled:
    """The program with layers and products taken out of its loops, as far as they read none of what a loop carries."""
    number = 0
    while number < len(rolled.loops):
        found = _next(_with_top_outputs(rolled, number, module), number, module)
        rolled, number = (rolled, number + 1) if found is None else (found, number)
    return rolled


def _next(rolled: Rolled, number: int, module: nn.Module) -> Rolled | None:
    """The program with one more layer, or with all products, outside of a loop; None where there is none."""
    loop = rolled.loops[number]
    if isinstance(loop, Fused) or loop.fewer:
        return None
    for place in range(len(loop.step)):
        call = _call(loop.step[place], module)
        if call is not None and _is_alone(rolled, number, place, call):
            ahead = places_needed(loop, loop.step[place].leaves[0])
            return split(rolled, number, _groups(loop, ahead, (place,)), place)
    if not loop.states:
        return None
    ahead = {place for place in range(len(loop.step)) if _is_for_all_steps(loop, place)}
    names = {loop.step[place].instruction.name for place in ahead}
    return split(rolled, number, _groups(loop, ahead, ()), None) if names & _PRODUCTS else None


def _groups(loop: Loop, ahead: set[int], layer: Places) -> list[Places]:
    later = (place for place in range(len(loop.step)) if place not in ahead and place not in layer)
    return [tuple(sorted(ahead)), layer, tuple(later)]


def _is_for_all_steps(loop: Loop, place: int) -> bool:
    """Whether a place, and all that it is computed from, can be computed for all steps at once and reads no state."""
    if place in loop.written or states_read(loop, Inner(place=place)):
        return False
    return all(has_form_for_all_steps(loop.step[own]) for own in places_needed(loop, Inner(place=place)))


@dataclass(frozen=True, kw_only=True)
class LayerCall:
    """A recurrent layer's call on one frame: its name, how many states it has, and which axis of a frame is time.

    `time` is None for a cell; `steps_parts` are the results of a step that the call for all steps gives too.
    """

    layer: str
    states: int
    time: int | None
    each_step: frozenset[int | None]
    rows: int


def _call(template: Template, module: nn.Module) -> LayerCall | None:
    """The call of a layer that is the same on one frame after another as on the sequence."""
    instruction = template.instruction
    _, attributes = pytree.tree_unflatten(list(instruction.leaves), instruction.structure)
    if attributes.get("domain") != LAYERS or "loop" in attributes["attr_keys"]:
        return None
    name = attribute_in(attributes, "layer")
    layer: Any = module.get_submodule(name)
    lstm = 2 if isinstance(layer, nn.LSTM | nn.LSTMCell) else 1
    if isinstance(layer, nn.RNNCellBase):
        return LayerCall(layer=name, states=lstm, time=None, each_step=frozenset((0,)), rows=1)
    time = 1 if attribute_in(attributes, "batch_first") else 0
    if layer.bidirectional or instruction.shape_of(0)[time] != 1 or template.leaves[3] is not None:
        return None
    each_step = frozenset((0, 1) if layer.num_layers == 1 else (0,))
    return LayerCall(layer=name, states=lstm, time=time, each_step=each_step, rows=layer.num_layers)


def _is_alone(rolled: Rolled, number: int, place: int, call: LayerCall) -> bool:
    """Whether a layer's states go from its own end to its own start alone, and nothing else feeds it back."""
    loop = rolled.loops[number]
    assert isinstance(loop, Loop)
    leaves = loop.step[place].leaves
    first_part = len(loop.step[place].instruction.shapes) - call.states
    given = leaves[1 : 1 + call.states]
    for kind, state in enumerate(given):
        if not isinstance(state, State) or loop.states[state.number].after != Inner(
            place=place, part=first_part + kind
        ):
            return False
    if place in places_needed(loop, leaves[0]):
        return False
    others = tuple(own for own in range(len(loop.step)) if own != place)
    values = [loop.step[own].leaves for own in others] + [loop.states[own].after for own in states_of(loop, others)]
    read = {leaf.part for leaf in leaves_in(tuple(values)) if isinstance(leaf, Inner) and leaf.place == place}
    last = Affine(base=-1, by_length=1)
    for leaf in rolled.leaves:
        if isinstance(leaf, Element | Span) and (leaf.loop, leaf.place) == (number, place):
            is_last = isinstance(leaf, Element) and leaf.index == last and (leaf.part or 0) >= first_part
            read |= set() if is_last else {leaf.part}
    return read <= call.each_step


def _with_top_outputs(rolled: Rolled, number: int, module: nn.Module) -> Rolled:
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
