"""One call of a streaming model: its tensors, the frames that it carries, and where each row is in its sequence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

Values = dict[Node, Any]


@dataclass(frozen=True, kw_only=True)
class CacheSpec:
    """A state that a stream carries from call to call: its name, dtype, and shape `(…, B, …)` at a batch of one.

    `batch` is the place of the axis of batch, None in a model without one.
    """

    name: str
    shape: tuple[int, ...]
    batch: int | None
    dtype: torch.dtype

    def zeros(self, batch: int, dtype: torch.dtype) -> Tensor:
        """Its start; floats are of `dtype`."""
        shape = [batch if axis == self.batch else size for axis, size in enumerate(self.shape)]
        return torch.zeros(shape, dtype=dtype if self.dtype.is_floating_point else self.dtype)


@dataclass(kw_only=True)
class StreamRun:
    """What the steps of a plan read and write in one call.

    `position (B)` counts the steps that each row was given before, of `multiple` frames of the inputs; `end (B)` is the
    length of a sequence that has ended, in frames, and 0 of one that has not. `frames` is the number of the inputs'
    frames in this call, and `sizes` what the trace's other symbols are in it.
    """

    values: Values
    caches: Mapping[str, Tensor]
    frames: Any
    multiple: int
    batch: Any
    sizes: Mapping[str, Any]
    compute: Callable[[Node], None] = lambda node: None
    """Computes a node's value, of the step of a loop."""
    following: dict[str, Tensor] = field(default_factory=dict)
    dtype: torch.dtype
    layer: Callable[[Node, list[Any]], list[Tensor]]
    position: Tensor | None = None
    end: Tensor | None = None

    def count(self, rate: Fraction) -> Any:
        """How many frames of a rate this call has."""
        found = self.frames * rate.numerator
        return found if rate.denominator == 1 else found // rate.denominator

    def beside(self, values: Mapping[Node, Any]) -> "StreamRun":
        """The call with other values of some nodes."""
        return replace(self, values={**self.values, **values})

    def called(self, node: Node) -> Any:
        """What a node's operator gives for the values of this call."""
        target: Any = node.target
        return target(*self.own(tuple(node.args)), **{key: self.own(value) for key, value in node.kwargs.items()})

    def own(self, argument: Any) -> Any:
        """An argument of a node with the values of this call in it, and its dtype in place of the trace's."""
        if isinstance(argument, Node):
            return self.values[argument]
        if argument is torch.float32:
            return self.dtype
        if isinstance(argument, tuple | list):
            return type(argument)(self.own(value) for value in argument)
        return argument

    def indices(self, rate: Fraction, count: Any, *, before: int = 0) -> Tensor:
        """The numbers `(B, count)` that frames of a rate have in the stream, `before` of them from earlier calls."""
        assert self.position is not None
        first = self.position * int(rate * self.multiple)
        return first.unsqueeze(1) + (torch.arange(count, device=first.device) - before)

    def length(self) -> Tensor:
        """The length `(B)` of each row's sequence as far as it is known: all frames so far where it has not ended."""
        assert self.position is not None
        assert self.end is not None
        return torch.where(self.end > 0, self.end, self.position * self.multiple + self.frames)


Step = Callable[[StreamRun], Any]
"""What computes a node's value in a call."""


def size_in(expression: Any, sizes: Mapping[str, Any]) -> Any:
    """An expression of a trace's symbols as a size of this call."""
    if expression.is_Integer:
        return int(expression)
    if expression.is_Symbol:
        return sizes[str(expression)]
    if expression.is_Mul or expression.is_Add:
        parts = [size_in(own, sizes) for own in expression.args]
        found = parts[0]
        for own in parts[1:]:
            found = found * own if expression.is_Mul else found + own
        return found
    if type(expression).__name__ == "FloorDiv":
        return size_in(expression.args[0], sizes) // size_in(expression.args[1], sizes)
    raise ValueError(f"a size of {expression}")


def tensor_size_in(expression: Any, symbol: Any, value: Tensor) -> Tensor:
    """An expression of one symbol, computed for each element of an integer tensor."""
    if expression.is_Integer:
        return torch.full_like(value, int(expression))
    if expression == symbol:
        return value
    parts: Sequence[Tensor] = [tensor_size_in(own, symbol, value) for own in expression.args]
    if expression.is_Add or expression.is_Mul:
        found = parts[0]
        for own in parts[1:]:
            found = found + own if expression.is_Add else found * own
        return found
    if type(expression).__name__ == "FloorDiv":
        return torch.div(parts[0], parts[1], rounding_mode="floor")
    raise ValueError(f"a size of {expression}")
