"""Which values a tensor was computed from, followed through every operator that a model runs."""

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

# fmt: off
OF_SHAPES = frozenset((
    "new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided", "zeros_like", "ones_like", "full_like",
    "empty_like", "rand_like", "randn_like", "randint_like",
))
# fmt: on
"""Operators that take a tensor's shape and dtype and none of its values."""

_RENORMS = frozenset(("embedding_renorm_",))
"""Operators that scale rows of a weight, each the same way whichever input names it."""

_OVERWRITES = frozenset(("zero_", "fill_"))
"""Operators in place that keep nothing of what was there."""

_PLAIN = (int, float, str, torch.dtype, torch.device, torch.layout, torch.memory_format, type(None))
"""What operators take besides tensors, which nobody has to look into."""


class ValueOrigins(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside the block, every tensor has the labels of the tensors that its values come from.

    Labels belong to the memory that a tensor views, so that a view and what is written through it have them too.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._labels: dict[int, frozenset[str]] = {}
        self._alive: list[Tensor] = []  # whose memory must not be given to another tensor meanwhile

    def label(self, tensors: Iterable[Tensor], *labels: str) -> None:
        """Give these tensors further labels."""
        for tensor in tensors:
            self._add(tensor, frozenset(labels))

    def relabel(self, tensor: Tensor, *labels: str) -> None:
        """Give a tensor these labels in place of those that it has."""
        self._labels[_memory(tensor)] = frozenset(labels)
        self._alive.append(tensor)

    def replace_all(self, label: str) -> None:
        """Let this be the one label of everything that has any."""
        self._labels = dict.fromkeys((own for own, labels in self._labels.items() if labels), frozenset((label,)))

    def of(self, value: Any) -> frozenset[str]:
        """The labels of every tensor in a nested value."""
        found = (self._labels.get(_memory(own), frozenset()) for own in tensors_in(value))
        return frozenset[str]().union(*found)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name, written = _facts(func)
        if name in _OVERWRITES and args[0].untyped_storage().nbytes() == args[0].nbytes:
            self.relabel(args[0], *self.of(args[1:]))
        elif name not in OF_SHAPES | _RENORMS:
            labels = self.of((args, kwargs))
            for place, keyword in written if labels else ():
                for tensor in tensors_in(args[place] if place < len(args) else (kwargs or {}).get(keyword)):
                    self._add(tensor, labels)
            for tensor in tensors_in(result) if labels else ():
                self._add(tensor, labels)
        return result

    def _add(self, tensor: Tensor, labels: frozenset[str]) -> None:
        memory = _memory(tensor)
        own = self._labels.get(memory, frozenset())
        if not labels <= own:
            self._labels[memory] = own | labels
            self._alive.append(tensor)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists, dicts and packed sequences."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for own in value:
            yield from tensors_in(own)
    elif isinstance(value, dict):
        for own in value.values():
            yield from tensors_in(own)
    elif not isinstance(value, _PLAIN):
        yield from (leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor))


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata) if tensor.layout == torch.strided else id(tensor)


@functools.cache
def _facts(func: Any) -> tuple[str, tuple[tuple[int, str], ...]]:
    """An operator's name, and the places and names of the arguments that it writes into."""
    written = [
        (place, argument.name)
        for place, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return str(func._schema.name).split("::")[-1], tuple(written)
