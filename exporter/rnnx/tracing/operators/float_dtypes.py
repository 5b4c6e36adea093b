"""The float dtypes that a model's code names, read as the one it runs in: float32 in a graph, float64 in the truth."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

_DTYPE = torch.Tensor.dtype.__get__  # type: ignore[attr-defined]
_CASTS = {
    torch.Tensor.float: torch.float32,
    torch.Tensor.double: torch.float64,
    torch.Tensor.half: torch.float16,
    torch.Tensor.bfloat16: torch.bfloat16,
}
_TYPE_NAMES = {
    "FloatTensor": torch.float32,
    "DoubleTensor": torch.float64,
    "HalfTensor": torch.float16,
    "BFloat16Tensor": torch.bfloat16,
}
_MARK = "_dtypes_before_export"
_HELD = ("_parameters", "_buffers", "_modules")
"""Where a module keeps what `Module.to` converts."""


def in_dtype(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy on the CPU whose parameters, buffers and plain tensor attributes of floats are of `dtype`."""
    named = {own.dtype for own in (*module.parameters(), *module.buffers()) if own.is_floating_point()} - {dtype}
    found = copied(module).to(device="cpu", dtype=dtype)
    for own in found.modules():
        for key, value in vars(own).items():
            if key not in _HELD:
                vars(own)[key] = _converted(value, dtype)
    vars(found)[_MARK] = tuple(sorted(named | {*vars(module).get(_MARK, ())}, key=str))
    return found


def copied(module: nn.Module, known: Mapping[int, Any] | None = None) -> nn.Module:
    """A deep copy, with what `known` gives by `id` in place of objects.

    A weight that a hook computed is copied as a value, for PyTorch copies no tensor with a history; a function of
    `torch.jit.script`, which cannot be copied, is shared.
    """
    memo: dict[int, Any] = dict(known or {})
    for value in (value for own in module.modules() for value in _parts_of(vars(own))):
        if isinstance(value, torch.jit.ScriptFunction):
            memo[id(value)] = value
        elif not value.is_leaf:
            memo[id(value)] = value.detach().clone()
    found: nn.Module = copy.deepcopy(module, memo)
    return found


def reading_floats(module: nn.Module, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Read, inside the block, the float dtypes of a module's code as `dtype`.

    They are float32, and those that the module's weights had before `in_dtype`: code that trained in float64 names
    float64 for its states. Nothing is changed for a module that was float32 and runs in float32.
    """
    before = vars(module).get(_MARK, ())
    names = {torch.float32, *before} - {dtype}
    return _FloatsAs(dtype, frozenset(names)) if names else nullcontext()


class _FloatsAs(TorchFunctionMode):
    """Reads the dtypes `names` as `dtype`; tensors of them take part in operations with others as `dtype`."""

    def __init__(self, dtype: torch.dtype, names: frozenset[torch.dtype]) -> None:
        super().__init__()
        self._dtype, self._names = dtype, names

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func == _DTYPE:
            return self._read(func(*args))
        if _CASTS.get(func) in self._names:
            func, args = torch.Tensor.to, (*args, self._dtype)
        elif func is torch.Tensor.type and self._named(args, kwargs):
            func, args, kwargs = torch.Tensor.to, (args[0], self._dtype), {}
        args = tuple(map(self._read, args))
        kwargs = {key: self._read(value) for key, value in kwargs.items()}
        if not _writes(func, kwargs):
            args, kwargs = self._joined(args, kwargs)
        return func(*args, **kwargs)

    def _read(self, value: Any) -> Any:
        return self._dtype if isinstance(value, torch.dtype) and value in self._names else value

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether `x.type(...)` names one of the dtypes, as `torch.FloatTensor` or as text."""
        given = (*args[1:2], *kwargs.values(), None)[0]
        name = given if isinstance(given, str) else f"{getattr(given, '__name__', '')}"
        return given in self._names or _TYPE_NAMES.get(name.rpartition(".")[2]) in self._names

    def _joined(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments in one dtype where a tensor made by NumPy or by a typed constructor is among others."""
        leaves, structure = pytree.tree_flatten((args, kwargs))
        dtypes = {leaf.dtype for leaf in leaves if isinstance(leaf, Tensor)}
        if self._dtype not in dtypes or dtypes.isdisjoint(self._names):
            return args, kwargs
        joined = [
            leaf.to(self._dtype) if isinstance(leaf, Tensor) and leaf.dtype in self._names else leaf for leaf in leaves
        ]
        found: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_unflatten(joined, structure)
        return found


def _writes(func: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a function writes into an argument, which no converted copy may stand for."""
    name = getattr(func, "__name__", "")
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name in ("__setitem__", "__set__") or name.startswith("__i") or kwargs.get("out") is not None


def _converted(value: Any, dtype: torch.dtype) -> Any:
    """A plain tensor, or a list, tuple or dict with some, in `dtype`; anything else as it is."""
    if isinstance(value, nn.Parameter):
        return value
    if isinstance(value, Tensor):
        return value.detach().to("cpu", dtype) if value.is_floating_point() else value.to("cpu")
    if type(value) in (list, tuple):
        found = [_converted(inner, dtype) for inner in value]
        same = all(new is old for new, old in zip(found, value, strict=True))
        return value if same else type(value)(found)
    if type(value) is dict:
        return {key: _converted(inner, dtype) for key, inner in value.items()}
    return value


def _parts_of(attributes: dict[str, Any]) -> Iterator[Any]:
    """The tensors and the scripted functions among a module's attributes."""
    for value in attributes.values():
        for inner in value if isinstance(value, list | tuple) else (value,):
            if isinstance(inner, Tensor | torch.jit.ScriptFunction):
                yield inner
