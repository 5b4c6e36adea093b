"""The shapes of the values that a loop's step reads."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.rolled import Element, Fused, Inner, Loop, Once, Rolled, Template
from rnnx.tracing.loops.values import Filled, Input, Slice

Shape = tuple[Any, ...]


class Shapes:
    """The shapes of values of a loop of `rolled`, of which `tensors` are the example's inputs; sizes may be symbols."""

    def __init__(self, rolled: Rolled, loop: Loop, tensors: Sequence[Tensor]) -> None:
        self._once = [own for own in rolled.parts if isinstance(own, Template)]
        self._loops, self._loop, self._tensors = rolled.loops, loop, tensors

    def of(self, leaf: Any) -> Shape | None:
        """A value's shape; None where it is not known."""
        match leaf:
            case Inner(place=place, part=part):
                return self._loop.step[place].instruction.shape_of(part)
            case Once(number=number, part=part):
                return self._once[number].instruction.shape_of(part)
            case Element():
                return self._of_element(leaf)
            case Input(place=place):
                return tuple(self._tensors[place].shape)
            case Filled(sizes=sizes):
                return tuple(own.base if isinstance(own, Affine) else own for own in sizes)
            case Slice():
                return self._of_slice(leaf)
        return None

    def _of_element(self, leaf: Element) -> Shape | None:
        loop = self._loops[leaf.loop]
        if isinstance(loop, Fused):
            return loop.shape_of(leaf.part)
        return loop.step[leaf.place].instruction.shape_of(leaf.part)

    def _of_slice(self, leaf: Slice) -> Shape | None:
        source = self.of(leaf.source)
        if source is None:
            return None
        length = leaf.length.base if isinstance(leaf.length, Affine) else leaf.length
        return (*source[: leaf.axis], *([length] if leaf.keeps else []), *source[leaf.axis + 1 :])
