"""A rolled program as a module that can be traced again, each loop's step run once between two marks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._sympy.interp import sympy_interp
from torch.utils._sympy.reference import PythonReferenceAnalysis

from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.all_steps import is_for_all_steps
from rnnx.tracing.loops.calls import Read, joined, lines_kept, narrowed
from rnnx.tracing.loops.folding import FoldingError
from rnnx.tracing.loops.markers import is_begin
from rnnx.tracing.loops.matching import gathers
from rnnx.tracing.loops.rolled import Element, Fused, Loop, Once, Rolled, Span, Template
from rnnx.tracing.loops.running import RunningLoop
from rnnx.tracing.loops.running_layers import RunningLayer
from rnnx.tracing.loops.values import Constant, Filled, Input, Slice, Weight, size_symbol
from rnnx.tracing.opaque_layers import DOMAIN as LAYERS
from rnnx.tracing.packing import check_equal


class RolledModel(nn.Module):
    """The model of a rolled program: a call gives the results by name. Its weights have the names of the model's."""

    def __init__(self, model: nn.Module, rolled: Rolled, steps: sympy.Expr, outputs: Sequence[str]) -> None:
        """`steps` is the loops' length, made of the inputs' sizes."""
        super().__init__()
        # Under every name that it has in the model: `named_children()` and the like leave a second one out.
        for name, child in model._modules.items():
            self.add_module(name, child)
        for name, parameter in model._parameters.items():
            self.register_parameter(name, parameter)
        for name, buffer in model._buffers.items():
            self.register_buffer(name, buffer, persistent=name not in model._non_persistent_buffers_set)
        self._rolled, self._steps, self._outputs = rolled, steps, tuple(outputs)

    def forward(self, *tensors: Tensor) -> dict[str, Tensor]:
        """All results by name."""
        call = Call(self, self._rolled, tensors, self._steps)
        if not self._steps.is_Symbol:
            torch._check(call.length >= 1)  # type: ignore[no-untyped-call]  # a Scan must not be empty
        return dict(zip(self._outputs, call.results(), strict=True))


class Call:
    """One call: what has been computed, and how the values of a rolled program are read."""

    def __init__(self, module: nn.Module, rolled: Rolled, tensors: Sequence[Tensor], steps: sympy.Expr) -> None:
        self._module, self._rolled, self._tensors = module, rolled, tensors
        self.length: Any = self._evaluated(steps)
        self._once: list[Any] = []
        self._loops: list[RunningLoop | RunningLayer] = []
        self._marks = sum(isinstance(own, Template) and is_begin(own.instruction) for own in rolled.parts)

    def results(self) -> list[Tensor]:
        """Run all parts."""
        wanted = _wanted(self._rolled)
        for part in self._rolled.parts:
            if isinstance(part, Template):
                with lines_kept(part.instruction.meta):
                    self._once.append(self.run(part, self.value))
            else:
                self._loops.append(self._looped(part, wanted))
        return [self.value(own) for own in self._rolled.results]

    def _looped(self, loop: Loop | Fused, wanted: Mapping[int, Mapping[Read, None]]) -> RunningLoop | RunningLayer:
        mark = self._marks
        self._marks += isinstance(loop, Fused) or not is_for_all_steps(loop)
        if isinstance(loop, Fused):
            layer = RunningLayer(self, mark, loop)
            with lines_kept(loop.meta):
                layer.run()
            return layer
        running = RunningLoop(self, mark, loop, wanted.get(len(self._loops), {}))
        running.run()
        return running

    def run(self, template: Template, value: Callable[[Any], Any]) -> Any:
        """The result of an instruction; `value` reads its values."""
        instruction = template.instruction
        if gathers(instruction):
            spans, axis = template.leaves
            return self._gathered(instruction, spans, axis, value)
        leaves = list(map(value, template.leaves))
        args, kwargs = pytree.tree_unflatten(leaves, instruction.structure)
        operator = instruction.target
        if any(isinstance(own, Affine) and own.by_step for own in template.leaves):
            operator = getattr(operator, "overloadpacket", operator)  # a number became a tensor
        result = operator(*args, **kwargs)
        if kwargs.get("domain") == LAYERS:
            _tie_sizes(args[0], result)
        return result

    def value(self, leaf: Any) -> Any:
        """What a value outside of a loop's step is now."""
        if isinstance(leaf, Once):
            found = self._once[leaf.number]
            return found if leaf.part is None else found[leaf.part]
        if isinstance(leaf, Element):
            return self._loops[leaf.loop].element(leaf.place, leaf.part, leaf.index)
        if isinstance(leaf, Weight):
            return _attribute(self._module, leaf.name)
        if isinstance(leaf, Input):
            return self._tensors[leaf.place]
        if isinstance(leaf, Constant):
            return leaf.tensor
        if isinstance(leaf, Filled) and leaf.left_out:
            return None
        if isinstance(leaf, Filled):
            return torch.full([self.number(own) for own in leaf.sizes], self.value(leaf.value), dtype=leaf.dtype)
        if isinstance(leaf, Slice):
            return self.sliced(leaf, self.value)
        return self.number(leaf) if isinstance(leaf, Affine) else leaf

    def sliced(self, leaf: Slice, value: Callable[[Any], Any]) -> Tensor:
        """A slice at a place that is the same at all steps; `value` reads its source."""
        source: Tensor = value(leaf.source)
        start = self.number(leaf.start)
        if not leaf.keeps:
            return source.select(leaf.axis, start)
        return narrowed(source, leaf.axis, start, self.number(leaf.length))

    def number(self, line: Affine) -> Any:
        """A number that holds for all steps."""
        if line.by_step:
            raise FoldingError(reason="a size that is another at each step", line="forward")
        if not line.by_length:
            return self._evaluated(line.base)
        return self._evaluated(line.base) + self._evaluated(line.by_length) * self.length

    def collected(self, leaf: Element) -> Tensor:
        """What all steps of a loop gave, time first."""
        return self._loops[leaf.loop].collected(leaf.place, leaf.part)

    def elements(self, span: Span) -> Tensor:
        """What a loop gives at several indices, time first."""
        found = self._loops[span.loop].elements(
            span.place, span.part, self.number(span.first), self.number(span.count), downwards=span.downwards
        )
        for cut in span.cuts:
            axis = cut.axis + 1
            found = found.narrow(axis, cut.start, cut.length) if cut.keeps else found.select(axis, cut.start)
        return found

    def _gathered(self, instruction: Any, spans: Sequence[Any], axis: int, value: Callable[[Any], Any]) -> Tensor:
        is_stack = "stack" in str(instruction.target)
        pieces = []
        for own in spans:
            if isinstance(own, Span):
                pieces.append(joined(self.elements(own), axis, keeps=not is_stack))
            else:
                found = value(own)
                pieces.append(found.unsqueeze(axis) if is_stack else found)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, axis)

    def _evaluated(self, expression: Any) -> Any:
        if not isinstance(expression, sympy.Expr):
            return expression
        sizes = {
            symbol: self._tensors[place].shape[axis]
            for place, tensor in enumerate(self._tensors)
            for axis in range(tensor.dim())
            if (symbol := size_symbol(place, axis)) in expression.free_symbols
        }
        found = sympy_interp(PythonReferenceAnalysis, sizes, expression)
        return int(found) if isinstance(found, sympy.Integer) else found


def _tie_sizes(given: Sequence[Any], results: Sequence[Tensor]) -> None:
    """Tell the trace that a recurrent layer's states and lengths have the batch of its sequence, as the layer did."""
    _, h0, c0, lengths = given
    states = [own for own in (h0, c0) if own is not None]
    for state, last in zip(states, results[-len(states) :] if states else (), strict=True):
        for size, own in zip(state.shape, last.shape, strict=True):
            check_equal(size, own)
    if lengths is not None:
        check_equal(lengths.shape[0], results[-1].shape[-2])


def _attribute(module: nn.Module, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module


def _wanted(rolled: Rolled) -> dict[int, dict[Read, None]]:
    """What of each loop's step something outside of it reads, by place and part, besides last states."""
    found: dict[int, dict[Read, None]] = {}
    loops = rolled.loops
    for leaf in rolled.leaves:
        if isinstance(leaf, Span) or (isinstance(leaf, Element) and not is_last(loops[leaf.loop], leaf)):
            found.setdefault(leaf.loop, {})[leaf.place, leaf.part] = None
    return found


def is_last(loop: Loop | Fused, leaf: Element) -> bool:
    """Whether a value is a state after the loop's last step."""
    if isinstance(loop, Fused):
        return False
    last = Affine(base=-1 - loop.fewer, by_length=1)
    return leaf.index == last and (leaf.place, leaf.part) in loop.last_states
