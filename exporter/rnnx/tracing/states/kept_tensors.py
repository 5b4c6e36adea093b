"""The tensors that a module holds beside its parameters: buffers and attributes, in which a call may keep a state."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Key = str | int

Holders = Mapping[tuple[str, str], Any]
"""The values of attributes and buffers, by the names of the submodule and of the attribute."""


_OF_MODULES = frozenset(vars(nn.Module())) | {"_flat_weights", "_flat_weight_refs"}
"""What every module has, and the list that a recurrent layer keeps of its parameters."""


@dataclass(frozen=True)
class TensorPlace:
    """Where a module holds a tensor: the submodule, its attribute or buffer, and the keys inside of that."""

    module: str
    attribute: str
    keys: tuple[Key, ...] = ()

    @property
    def name(self) -> str:
        """The place as Python writes it, such as `memory.hidden[0]`."""
        return self.holder + "".join(f"[{key!r}]" for key in self.keys)

    @property
    def holder(self) -> str:
        """The attribute or buffer alone, such as `memory.hidden`."""
        return f"{self.module}.{self.attribute}".lstrip(".")


def kept_tensors(module: nn.Module) -> dict[TensorPlace, Tensor]:
    """Every tensor that a module holds and that is no parameter, by its place; one that has several has the first."""
    found: dict[TensorPlace, Tensor] = {}
    for name, own in module.named_modules():
        attributes = {key: value for key, value in vars(own).items() if key not in _OF_MODULES}
        for attribute, value in (own._buffers | attributes).items():
            for keys, tensor in _inside(value):
                found[TensorPlace(name, attribute, keys)] = tensor
    return found


@contextmanager
def placed_tensors(module: nn.Module, tensors: Mapping[TensorPlace, Tensor], like: Holders) -> Iterator[None]:
    """Put tensors into their places inside the block; afterwards every attribute and buffer is what it was.

    `like` has a value of each attribute that shows how its tensors are nested, where it may still be None.
    """
    before = {holder: _holder(module, *holder).get(holder[1]) for holder in like}
    for (name, attribute), value in like.items():
        own = {at.keys: tensor for at, tensor in tensors.items() if (at.module, at.attribute) == (name, attribute)}
        _holder(module, name, attribute)[attribute] = _replaced(value, (), own)
    try:
        yield
    finally:
        for (name, attribute), value in before.items():
            _holder(module, name, attribute)[attribute] = value


def holders_of(module: nn.Module, places: Iterable[TensorPlace]) -> Holders:
    """The value of every attribute and buffer in which one of these places is."""
    return {(at.module, at.attribute): _holder(module, at.module, at.attribute)[at.attribute] for at in places}


@contextmanager
def restored_values(module: nn.Module) -> Iterator[None]:
    """Undo what is written in place into the module's tensors inside the block."""
    kept = [(own, own._version, own.detach().clone()) for own in kept_tensors(module).values()]
    try:
        yield
    finally:
        for own, version, value in kept:
            if own._version != version:
                with torch.no_grad():
                    own.copy_(value)


def _inside(value: Any) -> Iterator[tuple[tuple[Key, ...], Tensor]]:
    if isinstance(value, Tensor):
        if not isinstance(value, nn.Parameter):
            yield (), value
        return
    entries: Any = value.items() if isinstance(value, dict) else ()
    entries = enumerate(value) if isinstance(value, tuple | list) else entries
    for key, inner in entries:
        if isinstance(key, Key):
            yield from (((key, *keys), tensor) for keys, tensor in _inside(inner))


def _replaced(value: Any, at: tuple[Key, ...], tensors: Mapping[tuple[Key, ...], Tensor]) -> Any:
    """A copy of a nested value with these tensors in it."""
    if at in tensors:
        return tensors[at]
    if isinstance(value, dict):
        return type(value)({key: _replaced(inner, (*at, key), tensors) for key, inner in value.items()})
    if isinstance(value, tuple | list):
        inner = [_replaced(own, (*at, index), tensors) for index, own in enumerate(value)]
        return inner if isinstance(value, list) else type(value)(*inner) if hasattr(value, "_fields") else tuple(inner)
    return value


def _holder(module: nn.Module, name: str, attribute: str) -> dict[str, Any]:
    own = module.get_submodule(name)
    return own._buffers if attribute in own._buffers else vars(own)
