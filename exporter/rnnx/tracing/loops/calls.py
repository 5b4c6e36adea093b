"""What a loop needs of the call of a rolled program that it is in, and how its results are read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import torch
import torch.fx.traceback as fx_traceback
from torch import Tensor

from rnnx.tracing.loops.affine import Affine
from rnnx.tracing.loops.rolled import Element, Template
from rnnx.tracing.loops.values import Filled, Slice
from rnnx.tracing.packing import check_equal

Read = tuple[int, int | None]
"""What is read of a loop's step: the place, and the part of what it gives."""

ONE = Affine(base=1)

_OF_LINES = ("stack_trace", "nn_module_stack")
"""What of a node's `meta` says where in the model it comes from."""


class Call(Protocol):
    """What a loop needs of the call that it is in: the loops' length, and the values outside of its step."""

    length: Any

    def run(self, template: Template, value: Callable[[Any], Any]) -> Any:
        """The result of an instruction."""

    def value(self, leaf: Any) -> Any:
        """What a value is."""

    def sliced(self, leaf: Slice, value: Callable[[Any], Any]) -> Tensor:
        """A slice that is the same at all steps."""

    def number(self, line: Affine) -> Any:
        """A number that holds for all steps."""

    def collected(self, leaf: Element) -> Tensor:
        """What all steps of a loop gave."""


def start_of(call: Call, first: Any, shape: Sequence[Any]) -> Tensor:
    """The first value of a state whose next ones have this shape, to which sizes of one are broadcast."""
    if isinstance(first, Filled):
        sizes = first.sizes
        if len(sizes) == len(shape):
            sizes = tuple(Affine(base=own) if size == ONE else size for size, own in zip(sizes, shape, strict=True))
        first = replace(first, left_out=False, sizes=sizes)
    found: Tensor = call.value(first)
    return found


def joined(elements: Tensor, axis: int, *, keeps: bool) -> Tensor:
    """Elements of a loop, time first, side by side along an axis: a new one, or one that they have (`keeps`)."""
    if not keeps:
        return elements.movedim(0, axis)
    axis %= elements.dim() - 1
    return elements.movedim(0, axis).flatten(axis, axis + 1)


def narrowed(source: Tensor, axis: int, first: Any, count: Any) -> Tensor:
    """A part of a sequence; the whole of one that is as long as the part."""
    size = source.shape[axis]
    if type(first) is int and first == 0 and _may_be_equal(size, count):
        check_equal(size, count)
        return source
    return source.narrow(axis, first, count)


def _may_be_equal(size: Any, count: Any) -> bool:
    """Whether two sizes are equal in the example."""
    hints = [own.node.hint if isinstance(own, torch.SymInt) else own for own in (size, count)]
    return bool(hints[0] == hints[1])


@contextmanager
def lines_kept(meta: Mapping[str, Any]) -> Iterator[None]:
    """Give the nodes that are traced inside the block the model's line that their instruction came from."""
    with fx_traceback.preserve_node_meta():
        fx_traceback.current_meta.update({key: meta[key] for key in _OF_LINES if key in meta})
        yield
