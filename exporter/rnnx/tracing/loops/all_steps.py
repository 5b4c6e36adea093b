"""What steps without a state compute, for all steps at once: a product over the sequence in place of one for each."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.calls import ONE, Call, Read, lines_kept, narrowed
from rnnx.tracing.loops.folding import FoldingError
from rnnx.tracing.loops.matching import gathers
from rnnx.tracing.loops.rolled import Element, Inner, Loop, State, Template, Varying, leaves_in
from rnnx.tracing.loops.step_operators import Every, each, gathered, rule_of
from rnnx.tracing.loops.values import Filled, Slice


def has_form_for_all_steps(template: Template) -> bool:
    """Whether an instruction of a step can be computed for all steps, and differs between them."""
    instruction = template.instruction
    return (gathers(instruction) or rule_of(instruction.name) is not None) and not any(
        _needs_its_step(leaf) for leaf in leaves_in(template.leaves)
    )


def is_for_all_steps(loop: Loop) -> bool:
    """Whether all of a loop can be computed without one."""
    if loop.states or loop.fewer:
        return False
    return all(
        not any(map(_needs_its_step, leaves_in(own.leaves))) if place in loop.written else has_form_for_all_steps(own)
        for place, own in enumerate(loop.step)
    )


def _needs_its_step(leaf: Any) -> bool:
    """Whether a value is no piece of a sequence, and yet another at each step."""
    if isinstance(leaf, Slice):
        return bool(leaf.start.by_step) and not is_step_of_sequence(leaf)
    if isinstance(leaf, Filled):
        return isinstance(leaf.value, Affine) and bool(leaf.value.by_step)
    return isinstance(leaf, State | Varying) or (isinstance(leaf, Affine) and bool(leaf.by_step))


def is_step_of_sequence(leaf: Slice) -> bool:
    """Whether a slice is one element of something that stays, and the next or the previous one at the next step."""
    inner = list(leaves_in(leaf.source))
    moves = any(isinstance(own, Inner | State | Varying) for own in inner) or any(
        (isinstance(own, Element) and own.index.by_step) or (isinstance(own, Slice) and own.start.by_step)
        for own in inner
    )
    return not moves and abs(leaf.start.by_step) == 1 and leaf.length == ONE


class AllSteps:
    """The values of a loop's steps, each with time as its first axis, in the order of the steps."""

    def __init__(self, call: Call, loop: Loop | None = None) -> None:
        self._call, self._loop = call, loop
        self._found: list[Any] = []

    def results(self, wanted: Sequence[Read]) -> Mapping[Read, Tensor]:
        """What the places and parts of the step give."""
        assert self._loop is not None
        for place, template in enumerate(self._loop.step):
            with lines_kept(template.instruction.meta):
                is_write = place in self._loop.written
                self._found.append(self.value(template.leaves[0]) if is_write else self._run(template))
        return {key: each(self.value(Inner(place=key[0], part=key[1])), self._call.length) for key in wanted}

    def value(self, leaf: Any) -> Any:
        """A value: an `Every` where it is one for each step."""
        if isinstance(leaf, Inner):
            found = self._found[leaf.place]
            return found if leaf.part is None else found[leaf.part]
        if isinstance(leaf, tuple):
            return tuple(map(self.value, leaf))
        if isinstance(leaf, Element) and leaf.index.by_step:
            return Every(tensor=self.sequence(self._call.collected(leaf), 0, leaf.index))
        if isinstance(leaf, Slice):
            return self._slice(leaf)
        return self._call.value(leaf)

    def sequence(self, source: Tensor, axis: int, start: Affine, *, as_it_lies: bool = False) -> Tensor:
        """The elements along an axis that the steps go over, time first; `as_it_lies` also where they go backwards."""
        if abs(start.by_step) != 1:
            raise FoldingError(reason="results of a loop in no order", line="forward")
        backwards, count = start.by_step < 0, self._call.length
        first = self._call.number(Affine(base=start.base, by_length=start.by_length))
        if type(first) is int and first < 0:
            first += source.shape[axis]
        piece = narrowed(source, axis, first - count + 1 if backwards else first, count)
        piece = piece.movedim(axis, 0) if axis else piece
        return piece.flip(0) if backwards and not as_it_lies else piece

    def _slice(self, leaf: Slice) -> Any:
        if is_step_of_sequence(leaf):
            found = self.sequence(self._call.value(leaf.source), leaf.axis, leaf.start)
            return Every(tensor=found.unsqueeze(leaf.axis + 1) if leaf.keeps else found)
        source = self.value(leaf.source)
        if not isinstance(source, Every):
            return self._call.sliced(leaf, lambda _: source)
        start = self._call.number(leaf.start)
        if not leaf.keeps:
            return Every(tensor=source.tensor.select(leaf.axis + 1, start))
        return Every(tensor=narrowed(source.tensor, leaf.axis + 1, start, self._call.number(leaf.length)))

    def _run(self, template: Template) -> Any:
        instruction, count = template.instruction, self._call.length
        leaves = [self.value(own) for own in template.leaves]
        if not any(isinstance(own, Every) for own in leaves_in(tuple(leaves))):
            return self._call.run(template, self.value)
        if gathers(instruction):
            tensors, axis = leaves
            return Every(tensor=gathered(instruction.target, tensors, axis, count))
        args, kwargs = pytree.tree_unflatten(leaves, instruction.structure)
        rule = rule_of(instruction.name)
        assert rule is not None
        found = rule(instruction.target, args, kwargs, count)
        if isinstance(found, tuple | list):
            return [Every(tensor=own) for own in found]
        return Every(tensor=found)
