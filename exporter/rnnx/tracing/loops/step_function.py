"""A loop's step as a function in float64 of what it reads, with any of its values replaced."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.all_steps import is_step_of_sequence
from rnnx.tracing.loops.matching import gathers
from rnnx.tracing.loops.rolled import Inner, Loop, Once, Rolled, Template
from rnnx.tracing.loops.values import Constant, Filled, Slice, Weight


class UnknownValueError(Exception):
    """A value that comes from the model's inputs or from another loop."""


class StepFunction:
    """The step of a loop of `rolled`; weights are those of `module`."""

    def __init__(self, rolled: Rolled, loop: Loop, module: nn.Module) -> None:
        self._once = [own for own in rolled.parts if isinstance(own, Template)]
        self._loop, self._module = loop, module

    def values(
        self, wanted: Sequence[Any], given: Mapping[Any, Tensor], replaced: Mapping[int, Tensor] | None = None
    ) -> list[Tensor]:
        """What these values are where the step reads those `given`, and its places give those `replaced`.

        Raises:
            UnknownValueError: they need one that is not given.
        """
        with torch.no_grad():
            call = _Call(self._loop, self._once, self._module, given, dict(replaced or {}))
            return [call.value(own) for own in wanted]

    def before_product(self, leaf: Any) -> Slice | None:
        """What a step reads of a sequence to which a product outside of the loop was applied, before that product."""
        found = _factors(leaf, self._once)
        return None if found is None else found[1]

    def is_known(self, leaf: Any) -> bool:
        """Whether a value follows from the weights alone."""
        try:
            self.values([leaf], {})
        except (UnknownValueError, RuntimeError, ValueError, TypeError, IndexError):
            return False
        return True


class _Call:
    def __init__(
        self,
        loop: Loop,
        once: Sequence[Template],
        module: nn.Module,
        given: Mapping[Any, Tensor],
        places: dict[int, Any],
    ) -> None:
        self._loop, self._once, self._module, self._given, self._places = loop, once, module, given, places
        self._found: dict[int, Any] = {}

    def value(self, leaf: Any) -> Any:
        if _is_key(leaf) and leaf in self._given:
            return self._given[leaf]
        match leaf:
            case Inner(place=place, part=part):
                if place not in self._places:
                    self._places[place] = self._run(self._loop.step[place])
                return self._places[place] if part is None else self._places[place][part]
            case Once(number=number, part=part):
                if number not in self._found:
                    self._found[number] = self._run(self._once[number])
                return self._found[number] if part is None else self._found[number][part]
            case Weight(name=name):
                weight: Any = self._module
                for own in name.split("."):
                    weight = getattr(weight, own)
                return _double(weight)
            case Constant(tensor=tensor):
                return _double(tensor)
            case Filled(sizes=sizes, value=number):
                return torch.full([1] * len(sizes), self._number(number), dtype=torch.float64)  # broadcast
            case Slice():
                return self._slice(leaf)
            case Affine():
                return self._number(leaf)
            case tuple():
                return [self.value(own) for own in leaf]
            case torch.dtype():
                return torch.float64 if leaf.is_floating_point else leaf
        if isinstance(leaf, str | int | float | bool | torch.device | torch.layout | torch.memory_format | None):
            return leaf
        raise UnknownValueError

    def _slice(self, leaf: Slice) -> Tensor:
        found = _factors(leaf, self._once)
        if found is not None:
            template, frame = found
            product: Tensor = self._run(replace(template, leaves=(frame, *template.leaves[1:])))
            return product
        source, start = self.value(leaf.source), self._number(leaf.start)
        piece: Tensor = source.narrow(leaf.axis, start, self._number(leaf.length))
        return piece if leaf.keeps else piece.squeeze(leaf.axis)

    def _number(self, number: Any) -> Any:
        if not isinstance(number, Affine):
            return number
        if number.by_step or number.by_length or (isinstance(number.base, sympy.Expr) and number.base.free_symbols):
            raise UnknownValueError
        base: Any = number.base
        if isinstance(base, sympy.Expr):
            return int(base) if base.is_Integer else float(base)
        return base

    def _run(self, template: Template) -> Any:
        instruction = template.instruction
        leaves = [self.value(own) for own in template.leaves]
        if gathers(instruction):
            return instruction.target(*leaves)
        args, kwargs = pytree.tree_unflatten(leaves, instruction.structure)
        return instruction.target(*args, **kwargs)


def _factors(leaf: Any, once: Sequence[Template]) -> tuple[Template, Slice] | None:
    """The product that made a sequence, and the same slice of what it was applied to."""
    if not isinstance(leaf, Slice) or not is_step_of_sequence(leaf) or not isinstance(leaf.source, Once):
        return None
    template = once[leaf.source.number]
    is_product = template.instruction.name == "linear" and leaf.axis < len(template.instruction.shape_of(None)) - 1
    return (template, replace(leaf, source=template.leaves[0])) if is_product else None


def _is_key(leaf: Any) -> bool:
    return not isinstance(leaf, list | dict)


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().double() if tensor.is_floating_point() else tensor
