"""`len(x)`, `int(n)` and `float(n)` in the model's code: to Python plain numbers, and so the example's sizes."""

import ast
import builtins
import functools
import inspect
import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType, ModuleType
from typing import Any
from unittest import mock

import torch
from torch import SymFloat, SymInt, Tensor, nn

_SIZES = (SymInt, SymFloat)


@contextmanager
def sized_tensors(module: nn.Module) -> Iterator[None]:
    """Let `len(x)` be `x.size(0)` inside the block, and sizes stay sizes in `int`, `float` and `math`'s functions.

    It holds in the files that the model's classes and functions are written in. Elsewhere, as in PyTorch's own code,
    the names are Python's. For a tensor with values, and for a number, both give the same.
    """
    with ExitStack() as stack:
        for own in _files(module):
            for name, shim in _SHIMS.items():
                if name not in vars(own) and (shim is _size or _only_called(_source_of(own), name)):
                    setattr(own, name, shim)
                    stack.callback(delattr, own, name)
            told = {name: shim for name, shim in _OF_MATH.items() if vars(own).get(name) is getattr(math, name)}
            stack.enter_context(mock.patch.dict(vars(own), told))
        for name, shim in _OF_MATH.items():
            stack.enter_context(mock.patch.object(math, name, shim))
        for kind in _SIZES:  # np.sqrt asks what is no number for a method of this name
            stack.enter_context(mock.patch.object(kind, "sqrt", _root, create=True))
        yield


def _size(value: Any) -> Any:
    return value.size(0) if isinstance(value, Tensor) and value.dim() else builtins.len(value)


_math_sqrt, _math_log = math.sqrt, math.log


def _root(value: Any) -> Any:
    return value**0.5 if isinstance(value, _SIZES) else _math_sqrt(value)


def _logarithm(value: Any, *base: Any) -> Any:
    """A tensor of no axes of a size: a graph has no logarithm of a number."""
    if not isinstance(value, _SIZES):
        return _math_log(value, *base)
    size: Any = value
    return torch.scalar_tensor(size).log() / (_math_log(*base) if base else 1)


_OF_MATH = {"sqrt": _root, "log": _logarithm}


class _Number(type):
    """The class of a stand-in for `int` or `float`, which is that type to `isinstance` and `==`."""

    kind: type

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if builtins.len(args) == 1 and isinstance(args[0], _SIZES):
            return _floated(args[0]) if cls.kind is float else _whole(args[0])
        return cls.kind(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.kind, name)

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, cls.kind)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls.kind

    def __hash__(cls) -> int:
        return hash(cls.kind)


class _Int(metaclass=_Number):
    kind = int


class _Float(metaclass=_Number):
    kind = float


_SHIMS: dict[str, Any] = {"len": _size, "int": _Int, "float": _Float}


def _floated(value: Any) -> Any:
    return torch.sym_float(value)  # type: ignore[no-untyped-call]


def _whole(value: Any) -> Any:
    return math.trunc(value) if isinstance(value, SymFloat) else value


def _files(module: nn.Module) -> list[ModuleType]:
    """The modules that the model's classes are written in, and those of its functions that they name."""
    names = {type(own).__module__ for own in module.modules()}
    names = {name for name in names if name.split(".")[0] != "torch" and name in sys.modules}
    packages = {name.split(".")[0] for name in names}
    found, waiting = dict[str, ModuleType](), sorted(names)
    while waiting:
        name = waiting.pop()
        if name in found or name not in sys.modules:
            continue
        found[name] = sys.modules[name]
        told = [own for own in vars(found[name]).values() if isinstance(own, FunctionType | ModuleType)]
        used = {own.__module__ if isinstance(own, FunctionType) else own.__name__ for own in told}
        waiting += sorted(own for own in used if own.split(".")[0] in packages)
    return list(found.values())


def _source_of(file: ModuleType) -> str:
    try:
        return inspect.getsource(file)
    except (OSError, TypeError):
        return ""


@functools.cache  # a model is traced several times, and taking its files apart takes as long as a trace
def _only_called(source: str, name: str) -> bool:
    """Whether a file calls a type, or asks for its instances, and never hands it on as `x.to(int)` does."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return False
    fine: set[int] = set()
    used: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == name:
            used.add(id(node))
        elif isinstance(node, ast.Call):
            asks = isinstance(node.func, ast.Name) and node.func.id == "isinstance"
            fine |= {id(inner) for part in (node.args[1:] if asks else [node.func]) for inner in ast.walk(part)}
        elif isinstance(node, ast.keyword) and node.arg == "type":  # argparse's, of which no model runs
            fine.add(id(node.value))
        elif isinstance(node, ast.arg | ast.AnnAssign | ast.FunctionDef):
            told = node.returns if isinstance(node, ast.FunctionDef) else node.annotation
            fine |= {id(inner) for inner in ast.walk(told)} if told is not None else set()
    return bool(used) and used <= fine
