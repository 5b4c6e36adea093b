"""Layers, hand-written cells and products that a loop has at each step as one call for all steps, where they can be."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from rnnx.tracing.loops.all_steps import has_form_for_all_steps
from rnnx.tracing.loops.cells import HandWrittenCell, hand_written_cell
from rnnx.tracing.loops.layer_calls import layer_group, with_top_outputs
from rnnx.tracing.loops.rolled import Element, Fused, Inner, Loop, Rolled, Span
from rnnx.tracing.loops.splitting import LayerGroup, Places, places_needed, split, states_read
from rnnx.tracing.loops.state_names import variable_of

_PRODUCTS = frozenset(("linear", "matmul", "addmm", "mm", "embedding"))
"""What is worth a loop of its own: one product for all steps is faster than one for each."""


@dataclass(frozen=True, kw_only=True)
class FusedProgram:
    """A rolled program, and the cells in it that the model writes by hand, in float64 by the name of their layer."""

    rolled: Rolled
    cells: dict[str, nn.RNNCellBase] = field(default_factory=dict)


def fused(rolled: Rolled, module: nn.Module, tensors: Sequence[Tensor]) -> FusedProgram:
    """The program with layers, cells and products taken out of its loops, as far as they read nothing else carried.

    `tensors` are the example's.
    """
    found, number = FusedProgram(rolled=rolled), 0
    while number < len(found.rolled.loops):
        simpler = _next(found, number, module, tensors)
        found, number = (found, number + 1) if simpler is None else (simpler, number)
    return found


def _next(found: FusedProgram, number: int, module: nn.Module, tensors: Sequence[Tensor]) -> FusedProgram | None:
    """The program with one more layer or cell, or with all products, outside of a loop; None where there is none."""
    rolled = with_top_outputs(found.rolled, number, module)
    loop = rolled.loops[number]
    if isinstance(loop, Fused) or loop.fewer or not loop.states:
        return None
    cells = found.cells
    layer = layer_group(rolled, number, module)
    if layer is None:
        own = hand_written_cell(rolled, number, module, tensors)
        if own is not None:
            layer = _group_of_cell(loop, own, module, cells)
            cells = {**cells, layer.own.layer: own.cell}
    if layer is not None:
        ahead = places_needed(loop, layer.own.x)
        return FusedProgram(
            rolled=split(rolled, number, _groups(rolled, loop, number, ahead, layer.places), layer), cells=cells
        )
    ahead = {place for place in range(len(loop.step)) if _is_for_all_steps(loop, place)}
    if not {loop.step[place].instruction.name for place in ahead} & _PRODUCTS:
        return None
    return FusedProgram(rolled=split(rolled, number, _groups(rolled, loop, number, ahead, ()), None), cells=cells)


def _groups(rolled: Rolled, loop: Loop, number: int, ahead: set[int], layer: Places) -> list[Places]:
    """What a loop's step computes before a layer, the layer, and what is needed of the rest."""
    read = (leaf.place for leaf in rolled.leaves if isinstance(leaf, Element | Span) and leaf.loop == number)
    later = places_needed(loop, tuple(Inner(place=own) for own in read), known=layer)
    return [tuple(sorted(ahead)), layer, tuple(sorted(later - ahead - {*layer}))]


def _group_of_cell(loop: Loop, own: HandWrittenCell, module: nn.Module, cells: dict[str, nn.RNNCellBase]) -> LayerGroup:
    """A hand-written cell under the name of the module that computes it."""
    states = [loop.states[number] for number in own.states]
    ends = [state.after for state in states if isinstance(state.after, Inner)]
    instructions = [loop.step[end.place].instruction for end in ends]
    layer = Fused(
        layer=_name(instructions[0].meta, module, cells),
        x=own.inputs,
        firsts=tuple(state.first for state in states),
        shapes=tuple(one.shape_of(end.part) for one, end in zip(instructions, ends, strict=True)),
        time=None,
        batched=True,
        meta=instructions[0].meta,
        names=tuple(variable_of(one.meta) for one in instructions),
    )
    results: dict[Any, int | None] = {(end.place, end.part): part for part, end in enumerate(ends)}
    return LayerGroup(places=own.places, own=layer, results=results)


def _name(meta: dict[str, Any], module: nn.Module, cells: dict[str, nn.RNNCellBase]) -> str:
    """The place of the module whose line it is, unless another layer has its name; then `loop0` and so on in it."""
    paths = [path for path, _ in meta.get("nn_module_stack", {}).values()]
    path = paths[-1].removeprefix("model").removeprefix(".") if paths else ""
    taken = {name for name, own in module.named_modules() if isinstance(own, nn.RNNBase | nn.RNNCellBase)} | {*cells}
    lead = f"{path}." if path else ""
    number = 0
    while not path or path in taken:
        path, number = f"{lead}loop{number}", number + 1
    return path


def _is_for_all_steps(loop: Loop, place: int) -> bool:
    """Whether a place, and all that it is computed from, can be computed for all steps at once and reads no state."""
    if place in loop.written or states_read(loop, Inner(place=place)):
        return False
    return all(has_form_for_all_steps(loop.step[own]) for own in places_needed(loop, Inner(place=place)))
